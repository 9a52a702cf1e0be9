"""The user's files: digested once, and again when they changed, whatever their time stamps say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edgepipe.digest import digest_file
from edgepipe.errors import ConfigError
from edgepipe.filestate import FileState, tree_digest


def settled(path: Path, text: str) -> Path:
    """Write a file, and wait until its time stamp can be told from later ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    time.sleep(0.06)
    return path


def test_digests_are_remembered_over_runs(tmp_path: Path) -> None:
    file = settled(tmp_path / "data" / "a", "one")
    state = FileState(tmp_path / "state" / "files.json")
    assert state.digest(file) == digest_file(file)
    state.save()
    found: list[Path] = []
    again = FileState(tmp_path / "state" / "files.json")
    assert again.fact("digest", file, lambda path: found.append(path)) == digest_file(file)
    assert not found


def test_a_change_is_noticed_though_size_and_time_stay(tmp_path: Path) -> None:
    file = settled(tmp_path / "a", "one")
    before = file.stat()
    state = FileState(tmp_path / "files.json")
    first = state.digest(file)
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert state.digest(file) != first


def test_a_file_changed_just_now_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a"
    state = FileState(tmp_path / "files.json")
    for number in range(20):
        file.write_text(str(number % 10))
        assert state.digest(file) == digest_file(file)


def test_a_file_from_the_future_is_right(tmp_path: Path) -> None:
    file = settled(tmp_path / "a", "one")
    os.utime(file, (2**32, 2**32))
    state = FileState(tmp_path / "files.json")
    first = state.digest(file)
    file.write_text("two")
    os.utime(file, (2**32, 2**32))
    assert state.digest(file) != first


@pytest.mark.parametrize("body", ["", "{", "[]", '{"version": 0}', '{"version": 1, "facts": 3}'])
def test_a_damaged_state_is_no_state(tmp_path: Path, body: str) -> None:
    (tmp_path / "files.json").write_text(body)
    file = settled(tmp_path / "a", "one")
    state = FileState(tmp_path / "files.json")
    assert state.digest(file) == digest_file(file)
    state.save()
    assert FileState(tmp_path / "files.json").digest(file) == digest_file(file)


def test_a_fact_of_another_form_is_no_fact(tmp_path: Path) -> None:
    file = settled(tmp_path / "a", "one")
    path = tmp_path / "files.json"
    path.write_text(f'{{"version": 1, "facts": {{"digest:{file}": 7}}}}')
    assert FileState(path).digest(file) == digest_file(file)


def test_a_state_that_cannot_be_saved_is_no_error(tmp_path: Path) -> None:
    file = settled(tmp_path / "a", "one")
    state = FileState(file / "below" / "files.json")
    state.digest(file)
    state.save()
    assert not state.damaged or state.path.parent.parent == file


def test_a_folder_is_all_that_a_stage_can_read_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("b", "a/x", "a/y"):
        settled(folder / name, name)
    (folder / "empty").mkdir()
    outside = settled(tmp_path / "outside" / "z", "z")
    (folder / "link").symlink_to(outside)
    (folder / "folder link").symlink_to(outside.parent)
    (folder / "twice").symlink_to(outside.parent)
    state = FileState(tmp_path / "files.json")
    names = ["a/x", "a/y", "b", "empty/", "folder link/z", "link", "twice/z"]
    first = state.tree(folder)
    assert sorted(first) == names
    settled(outside, "other")
    second = state.tree(folder)
    assert {name for name in names if first[name] != second[name]} == {
        "folder link/z",
        "link",
        "twice/z",
    }
    (folder / "empty").rmdir()
    assert tree_digest(state.tree(folder)) != tree_digest(second)


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    settled(folder / "one" / "x", "x")
    settled(folder / "two" / "y", "y")
    for here, there in (("one", "two"), ("two", "one")):
        for name in ("l1", "l2"):
            (folder / here / name).symlink_to(folder / there)
    (folder / "up").symlink_to(folder)
    names = FileState(tmp_path / "files.json").tree(folder)
    assert "one/x" in names
    assert len(names) < 20


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    state = FileState(tmp_path / "files.json")
    for path in (folder, folder / "pipe"):
        with pytest.raises(ConfigError, match="is no regular file"):
            state.tree(path)
    with pytest.raises(ConfigError, match="no such file"):
        state.tree(tmp_path / "absent")
    (folder / "pipe").unlink()
    (folder / "broken").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="broken cannot be read"):
        state.tree(folder)
