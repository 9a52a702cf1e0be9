"""Every error that a pipeline can have, word for word; nothing is run and nothing is written."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from projects import GOLDEN, Folder, Golden

from edgepipe.cli import main

ERRORS = GOLDEN / "errors"
NAMES = sorted(path.stem for path in ERRORS.glob("*.yaml"))
AS_PROCESS = ("all_at_once", "plugin_does_not_import", "yaml_not_utf8")


def lay_out(project: Folder, name: str) -> list[str]:
    """Put a case into the project; the arguments that its first line asks for."""
    path = ERRORS / f"{name}.yaml"
    shutil.copy(path, project.path)
    shutil.copytree(ERRORS / "parts", project.path / "parts")
    if name.startswith("plugin_"):
        shutil.copytree(ERRORS / "plugins", project.path / "plugins", dirs_exist_ok=True)
    first = path.read_bytes().partition(b"\n")[0].decode(errors="replace")
    asked = first.removeprefix("# arguments: ")
    return [path.name, *(shlex.split(asked) if asked != first else [])]


def neutral(text: str, project: Path) -> str:
    return text.replace(str(project), "<project>")


@pytest.mark.parametrize("name", NAMES)
def test_error(
    name: str, project: Folder, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = lay_out(project, name)
    before = project.files()
    assert main(["run", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    golden(ERRORS / f"{name}.txt", neutral(shown.err, project.path))
    assert project.files() == before
    assert not (project.path / ".edgepipe").exists()
    assert not project.cache.exists()


@pytest.mark.parametrize("name", AS_PROCESS)
def test_the_process_says_the_same(name: str, project: Folder) -> None:
    done = project.edgepipe("run", *lay_out(project, name))
    assert done.code == 2
    assert done.out == ""
    assert neutral(done.err, project.path) == (ERRORS / f"{name}.txt").read_text()


def test_no_golden_file_without_a_case() -> None:
    assert sorted(path.stem for path in ERRORS.glob("*.txt")) == NAMES
