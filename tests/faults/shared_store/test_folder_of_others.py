"""A remote in a folder that others use too: their files, their permissions."""

from __future__ import annotations

import os

from remotes import result
from teams import Team


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
