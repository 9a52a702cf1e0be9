"""Files that are replaced: whole or not at all, and nothing is left of those who died."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from edgepipe.replacing import clear, replace


def test_what_dead_processes_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    dead, live, other = (tmp_path / name for name in (".a.1.partial", ".a.2.partial", "b.partial"))
    for path in (dead, live, other):
        path.write_bytes(b"half")
    with live.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        replace(str(tmp_path / "a"), b"whole")
        assert sorted(path.name for path in tmp_path.iterdir()) == [live.name, "a", other.name]
    clear(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", other.name]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_who_clears_at_the_wrong_moment_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, cleared = fcntl.flock, []

    def too_late(handle: int, how: int) -> None:
        if not cleared and how == fcntl.LOCK_EX:
            cleared.extend(tmp_path.iterdir())
            clear(str(tmp_path))
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    replace(str(tmp_path / "a"), b"whole")
    assert len(cleared) == 1
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        replace(str(tmp_path / "a"), b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    clear(str(tmp_path / "missing"))
