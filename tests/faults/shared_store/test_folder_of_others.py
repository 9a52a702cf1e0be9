"""A remote in a folder that others use too: their files, their permissions."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from remotes import key, result
from teams import Team

import edgepipe.remote.folder
from edgepipe.errors import ConfigError
from edgepipe.store import Store
from edgepipe.store.collect import collect


def test_what_others_keep_in_it_stays(team: Team) -> None:
    files = [
        team.shared / "tmp" / "thesis.doc",
        team.shared / "tmp" / "@eaDir" / "f",
        team.shared / "tmp" / ("ab" * 16) / "f",
    ]
    litter = team.shared / "tmp" / ("cd" * 16)
    for path in (*files, litter):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("years of work")
        os.utime(path, (0, 0))
        os.utime(path.parent, (0, 0))
    one = team.remote()
    record = result(team.mine, "a")
    assert one.push([record], team.mine) == {record.key: "uploaded"}
    assert one.warnings == []
    assert all(path.exists() for path in files)
    assert not litter.exists()


def test_who_may_write_to_the_folder_may_write_to_all_in_it(team: Team) -> None:
    team.shared.mkdir()
    team.shared.chmod(0o2775)
    before = os.umask(0o077)
    try:
        team.remote().push([result(team.mine, "a")], team.mine)
    finally:
        os.umask(before)
    folders = [path for path in team.shared.rglob("*") if path.is_dir()]
    assert len(folders) >= 5
    assert {path.stat().st_mode & 0o7777 for path in folders} == {0o2775}
    files = [path for path in team.shared.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


def test_a_folder_is_seen_once_all_may_write_to_it(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.shared.mkdir()
    team.shared.chmod(0o2775)
    closed: list[Path] = []
    chmod = Path.chmod

    def watched(path: Path, mode: int) -> None:
        for folder, names, _ in os.walk(team.shared):
            named = [Path(folder, name) for name in names if not name.startswith(".")]
            closed.extend(one for one in named if one.stat().st_mode & 0o7777 != 0o2775)
        chmod(path, mode)

    monkeypatch.setattr(Path, "chmod", watched)
    before = os.umask(0o077)
    try:
        records = [result(team.mine, f"r{n}") for n in range(10)]
        assert set(team.remote().push(records, team.mine).values()) == {"uploaded"}
    finally:
        os.umask(before)
    assert closed == []
    assert list(team.shared.rglob(".*")) == []


def test_a_cache_is_no_remote_and_keeps_its_records(team: Team) -> None:
    record = result(team.mine, "a")
    collect(team.mine)
    result(team.mine, "b")
    one = team.remote(str(team.mine.root))
    assert one.fetch_many([record.key, key("b")], team.theirs) == {}
    (warning,) = one.warnings
    assert "is not asked any more: it is a cache (gc.lock is in it)" in warning
    one = team.remote(str(team.mine.root))
    assert list(one.push([result(team.theirs, "b")], team.theirs).values()) == ["failed"]
    assert Store(team.mine.root).record(key("b")) is not None


def test_a_remote_is_no_cache_that_gc_would_empty(team: Team) -> None:
    record = result(team.mine, "a")
    team.remote().push([record], team.mine)
    for _ in range(2):
        with pytest.raises(ConfigError, match="is to be the cache, and is a remote"):
            collect(Store(team.shared))
        # An earlier version may have looked into it as into a cache.
        (team.shared / "gc.lock").touch()
    assert team.remote().fetch(record.key, team.theirs) == record


def test_a_folder_that_goes_while_it_is_used_is_made_again(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where two machines make it at the same time, and the one takes the place of the other."""
    write, gone, one = edgepipe.remote.folder._write, [], threading.Lock()

    def first_goes(path: Path, *rest: Any) -> None:
        with one:
            if not gone:
                path.parent.rmdir()
                gone.append(path.parent)
            write(path, *rest)

    monkeypatch.setattr(edgepipe.remote.folder, "_write", first_goes)
    record = result(team.mine, "a")
    assert team.remote().push([record], team.mine) == {record.key: "uploaded"}
    assert gone == [team.shared / "tmp"]


def test_a_folder_that_got_no_name_before_a_kill_goes(team: Team) -> None:
    record = result(team.mine, "a")
    team.remote().push([record], team.mine)
    left = [team.shared / f".{'0' * 32}", team.shared / "records" / f".{'a' * 32}"]
    other = team.shared / "records" / ".notes"
    for folder in (*left, other):
        folder.mkdir()
        os.utime(folder, (0, 0))
    team.remote().push([result(team.mine, "b")], team.mine)
    assert not any(folder.exists() for folder in left)
    assert other.exists()
