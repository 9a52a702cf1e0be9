"""What all tests share: a cache of their own, small projects, and the command as a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parent / "cases"
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can touch the user's cache or settings."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    monkeypatch.setenv("EDGEPIPE_CACHE", str(home / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


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
        return subprocess.Popen(
            command(*arguments),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A project with the plug-ins of the tests; the tests' process stands in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CASES / "plugins", folder / "plugins", ignore=ignore)
    (folder / "edgepipe.toml").write_text("")
    monkeypatch.chdir(folder)
    return Folder(folder)


Golden = Callable[[Path, str], None]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with a file, word for word; with --update-golden, write the file."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: pytest --update-golden writes it"
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def fresh_imports() -> Iterator[None]:
    """Plug-ins that a test imports into its own process are forgotten afterwards."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if _is_plugin(name):
            del sys.modules[name]
    sys.path[:] = path


def _is_plugin(name: str) -> bool:
    helpers: Sequence[str] = ("_values", "_arithmetic")
    return name.startswith(("edgepipe_plugin.", "edgepipe_user_")) or name in helpers
