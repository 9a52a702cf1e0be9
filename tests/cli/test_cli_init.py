"""A project that init makes: complete, right, and never over the user's files."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Folder

NAMES = {"edgepipe.toml", "pipelines/digits_int8.yaml", ".gitignore", "requirements.txt"}


def test_a_new_project_is_right_and_its_plugin_is_found(project: Folder) -> None:
    made = project.edgepipe("init", "new/deep", "--json").json
    assert set(made["files"]) >= NAMES
    found = {p.relative_to(project.path / "new/deep").as_posix() for p in files(project)}
    assert found == set(made["files"])
    for path in (project.path / "new/deep/pipelines").iterdir():
        done = project.edgepipe("validate", path)
        assert done.code == 0, done.err
    listed = project.edgepipe("stages", "--project", "new/deep").out
    assert [line.split()[0] for line in listed.splitlines() if "(plug-in)" in line]


def files(project: Folder) -> list[Path]:
    return [path for path in (project.path / "new/deep").rglob("*") if path.is_file()]


def test_an_empty_folder_is_taken_and_told_what_is_next(project: Folder) -> None:
    (project.path / "empty").mkdir()
    done = project.edgepipe("init", "empty")
    assert done.code == 0
    assert "empty/edgepipe.toml\n" in done.out
    assert done.out.endswith("next:\n  cd empty\n  edgepipe run pipelines/digits_int8.yaml\n")


def test_what_is_next_can_be_copied_into_a_shell(project: Folder) -> None:
    done = project.edgepipe("init", "my demo")
    assert "next:\n  cd 'my demo'\n" in done.out


@pytest.mark.parametrize("name", sorted(NAMES))
def test_files_that_are_there_are_left_alone(project: Folder, name: str) -> None:
    project.write(f"mine/{name}", "mine")
    before = project.files()
    done = project.edgepipe("init", "mine")
    assert done.code == 2
    assert f"mine/{name} is there already" in done.err
    assert project.files() == before


def test_a_file_is_no_folder(project: Folder) -> None:
    project.write("file", "")
    done = project.edgepipe("init", "file")
    assert (done.code, done.err) == (2, "error: file is no folder\n  give the name of a new one\n")
