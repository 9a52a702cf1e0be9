"""What all tests share: a cache of their own, small projects, a store, and golden files."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from projects import CASES, Compile, Folder, Golden

from edgepipe.cli._common import Compiled, compile_pipeline
from edgepipe.store import Store


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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """A project with the plug-ins of the tests; the tests' process stands in it."""
    folder = tmp_path / "project"
    folder.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CASES / "plugins", folder / "plugins", ignore=ignore)
    (folder / "edgepipe.toml").write_text("")
    monkeypatch.chdir(folder)
    made = Folder(folder)
    yield made
    made.end()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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


@pytest.fixture(autouse=True)
def _fresh_imports() -> Iterator[None]:
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


@pytest.fixture
def compiled(project: Folder) -> Compile:
    """Compile a pipeline's text in the project, as every verb does."""

    def compile_text(text: str, *overrides: str, until: str | None = None) -> Compiled:
        head = "" if "edgepipe:" in text else "edgepipe: 1\nname: case\n"
        path = project.write("pipeline.yaml", head + text)
        options = argparse.Namespace(pipeline=path, set=list(overrides), cache=None, until=until)
        return compile_pipeline(options)

    return compile_text
