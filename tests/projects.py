"""What tests use: a project's folder, the command as a process, and places of cases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepipe.cli._common import Compiled

CASES = Path(__file__).parent / "cases"
GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgepipe", *map(str, arguments)]


@dataclass(frozen=True)
class Folder:
    """A project's folder, and the command run in it as a real process."""

    path: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return Path(os.environ["EDGEPIPE_CACHE"])

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def edgepipe(self, *arguments: object, timeout: float = 60, **env: str) -> Finished:
        done = subprocess.run(
            command(*arguments),
            cwd=self.path,
            env={**os.environ, **env},
            capture_output=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: object) -> subprocess.Popen[bytes]:
        """The command in the background, in a process group of its own."""
        process = subprocess.Popen(
            command(*arguments),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kills what a test started and, as it failed, did not wait for."""
        for process in self.started:
            if process.poll() is None:
                with process:
                    process.kill()

    def trace(self, what: str = "start") -> list[str]:
        """The nodes that did something, in order."""
        return [event["node"] for event in self.events() if event["what"] == what]

    def events(self) -> list[dict[str, Any]]:
        path = self.path / "trace.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def files(self) -> dict[str, bytes]:
        """All that the project and the cache hold."""
        return {
            str(file): file.read_bytes()
            for root in (self.path, self.cache)
            for file in sorted(root.rglob("*"))
            if file.is_file() and "__pycache__" not in file.parts
        }


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


Golden = Callable[[Path, str], None]
Compile = Callable[..., Compiled]
