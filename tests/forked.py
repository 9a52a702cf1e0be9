"""Commands as real processes that start fast: forked from one that has imported the package.

Imports take most of a short command's time. A forked command is a process as any other: it has a
process group, a working directory and an environment of its own, finds plug-ins and files anew, and
can be killed. As a program, this file is the process that forks.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""The first command after an edit of code would write bytecode beside it, so that only the one
after the next could be answered from memory.
"""


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str
    fast: bool
    """It was answered from what was remembered, without loading the pipeline."""

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Forker:
    """Starts one command at a time."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgepipe-forked-")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **NO_BYTECODE},
        )

    def close(self) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def start(
        self,
        *arguments: object,
        cwd: Path,
        env: Mapping[str, str],
        slow: bool = False,
        encoding: str = "utf-8",
        path: Sequence[Path] = (),
    ) -> int:
        """Start a command; its process id, which is that of its group.

        Args:
            arguments: of the command.
            cwd: where it runs.
            env: all of its environment.
            slow: load the pipeline in any case, and remember nothing.
            encoding: of its output.
            path: where modules are sought first.
        """
        paths, before = [str(place) for place in path], env.get("PYTHONPATH")
        asked = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "env": {**env, "PYTHONPATH": os.pathsep.join(filter(None, [*paths, before]))},
            "path": paths,
            "slow": slow,
            "encoding": encoding,
            "folder": self._folder.name,
        }
        folder = Path(self._folder.name)
        for name in ("out", "err"):
            (folder / name).write_bytes(b"")
        (folder / "fast").unlink(missing_ok=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return self._number()

    def end(self, kill: int | None = None) -> Ended:
        """Wait for the command that was started last, or kill its group first."""
        if kill is not None:
            # It may have ended meanwhile.
            with suppress(ProcessLookupError):
                os.killpg(kill, signal.SIGKILL)
        code, folder = self._number(), Path(self._folder.name)
        out, err = ((folder / name).read_text(errors="replace") for name in ("out", "err"))
        return Ended(code, out, err, (folder / "fast").exists())

    def run(self, *arguments: object, **options: Any) -> Ended:
        """Start a command and wait for it; see `start`."""
        self.start(*arguments, **options)
        return self.end()

    def _number(self) -> int:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(SECONDS), "the command did not end"
        line = b""
        # Byte by byte, so that none waits in a buffer that the selector does not see.
        while not line.endswith(b"\n"):
            byte = os.read(self._process.stdout.fileno(), 1)
            assert byte, "the process that forks is gone"
            line += byte
        return int(line)


@functools.cache
def shared() -> Forker:
    """One for all tests of this process."""
    forker = Forker()
    atexit.register(forker.close)
    return forker


def _serve() -> int:
    from edgepipe.cli import _cache, runs  # noqa: F401
    from edgepipe.cli import run as _  # noqa: F401
    from edgepipe.compiler import compile_graph  # noqa: F401
    from edgepipe.executor.local import LocalExecutor  # noqa: F401
    from edgepipe.remote import Remote  # noqa: F401
    from edgepipe.report import html, lines, table  # noqa: F401
    from edgepipe.runner import Runner  # noqa: F401

    # As with -m, whose first entry is the folder that it is called in.
    del sys.path[0]
    for line in sys.stdin.buffer:
        pid = os.fork()
        if not pid:
            return _command(json.loads(line))
        with suppress(OSError):
            os.setpgid(pid, pid)
        os.write(1, b"%d\n" % pid)
        os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return 0


def _command(asked: Mapping[str, Any]) -> int:
    from edgepipe import noop
    from edgepipe.cli import main
    from edgepipe.cli._common import guarded

    with suppress(OSError):
        os.setpgid(0, 0)
    folder, arguments = Path(asked["folder"]), asked["arguments"]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, flags, 0o644), number)
    sys.stdout.reconfigure(encoding=asked["encoding"])  # type: ignore[union-attr]
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.path[:0] = [asked["cwd"], *asked["path"]]
    if asked["slow"]:
        return guarded(arguments[0], arguments[1:])
    answer = noop.answer

    def noted(question: str) -> tuple[int, str] | None:
        known = answer(question)
        if known is not None:
            (folder / "fast").touch()
        return known

    noop.answer = noted
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_serve())
