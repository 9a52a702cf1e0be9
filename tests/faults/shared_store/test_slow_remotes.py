"""A transfer that stands still is given up in time; one that moves is not, however slow it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from remotes import Asked, bucket, misbehaving, result, web_server, within
from teams import PATIENCE, Team
from thin_line import thin_line

from edgepipe.remote.progress import Line, Transfer
from edgepipe.remote.transport import UnavailableError

STEADY = 2
"""Seconds that a slow remote may stand still: a machine that is busy stands still, too."""


def serve(team: Team, special: Callable[[Asked, bytes], None]) -> Callable[[Asked], None]:
    """Answers with what is in the shared folder; what is large, in a special way."""

    def answer(asked: Asked) -> None:
        path = team.shared / asked.path.lstrip("/").removeprefix("bucket/")
        if not path.is_file():
            asked.head(404, 0)
            return
        body = path.read_bytes()
        asked.head(200, len(body))
        if len(body) < 50_000:
            asked.body(body)
        else:
            special(asked, body)

    return answer


def test_one_that_stands_still_beside_others_that_move() -> None:
    line = Line(0.2)
    moves, stands = Transfer(line), Transfer(line)

    def look(seconds: float) -> None:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            moves.moved(1 << 20)
            moves.check()
            stands.check()
            time.sleep(0.01)

    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
        look(10)


@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_a_download_that_slows_down_to_a_trickle(team: Team, protocol: str) -> None:
    record = result(team.mine, "a", out={"m": os.urandom(3 << 20)})
    team.remote().push([record], team.mine)

    def trickle(asked: Asked, body: bytes) -> None:
        asked.body(body[: 1 << 20])
        for _ in range(100):
            asked.body(b" ")
            time.sleep(0.2)

    with misbehaving(serve(team, trickle)) as (url, asked):
        settings = {"url": url} if protocol == "http" else {"url": "s3://bucket", "endpoint": url}
        one = team.remote(**settings, timeout=PATIENCE)
        with within(8):
            assert one.fetch(record.key, team.theirs) is None
    assert "it stood still for 1 s; going on without it" in one.warnings[0]
    assert len(asked) == 3
    team.nothing_came()


def test_an_upload_that_the_server_stops_reading(team: Team) -> None:
    record = result(team.mine, "a", out={"m": os.urandom(6 << 20)})

    def stop(asked: Asked) -> None:
        if asked.method == "PUT" and int(asked.headers["Content-Length"]) > 1 << 20:
            asked.handler.rfile.read(1 << 20)
            time.sleep(20)
            return
        asked.handler.rfile.read(int(asked.headers.get("Content-Length") or 0))
        asked.head(404 if asked.method in {"GET", "HEAD"} else 200, 0)

    with misbehaving(stop) as (url, _):
        one = team.remote("s3://bucket", endpoint=url, timeout=PATIENCE)
        with within(8):
            assert one.push([record], team.mine) == {record.key: "failed"}
    assert "not uploaded to s3://bucket any more: it stood still for 1 s" in one.warnings[0]


@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_many_downloads_share_a_thin_line(team: Team, protocol: str, s3: str) -> None:
    records = [result(team.mine, str(n), out={"m": os.urandom(60_000)}) for n in range(16)]
    settings = {"url": str(team.shared)}
    if protocol == "s3":
        settings = {"url": bucket(s3)[0], "endpoint": s3}
    team.remote(**settings).push(records, team.mine)
    with web_server(team.shared) as url, thin_line(s3 if protocol == "s3" else url, 250e3) as thin:
        settings["url" if protocol == "http" else "endpoint"] = thin
        one = team.remote(**settings, timeout=STEADY)
        assert len(one.fetch_many([r.key for r in records], team.theirs)) == 16
    assert one.warnings == []


def test_many_uploads_share_a_thin_line(team: Team, s3: str) -> None:
    records = [result(team.mine, str(n), out={"m": os.urandom(600_000)}) for n in range(4)]
    with thin_line(s3, 450e3) as thin:
        one = team.remote(bucket(s3)[0], endpoint=thin, timeout=STEADY)
        assert set(one.push(records, team.mine).values()) == {"uploaded"}
    assert one.warnings == []


def test_a_list_of_many_files_over_a_thin_line(team: Team) -> None:
    record = result(team.mine, "a", out={f"{n:0100}": b"" for n in range(2000)})
    team.remote().push([record], team.mine)
    with web_server(team.shared) as url, thin_line(url, 120e3) as thin:
        one = team.remote(thin, timeout=STEADY)
        assert one.fetch(record.key, team.theirs) == record
    assert one.warnings == []


def test_seconds_in_which_bytes_came_are_not_lost(team: Team) -> None:
    record = result(team.mine, "a", out={"m": os.urandom(150_000)})
    team.remote().push([record], team.mine)
    attempts = iter(range(100))

    def break_off_late(asked: Asked, body: bytes) -> None:
        if next(attempts):
            asked.body(body)
            return
        for start in range(0, 140_000, 10_000):
            asked.body(body[start : start + 10_000])
            time.sleep(STEADY / 10)
        asked.drop()

    with misbehaving(serve(team, break_off_late)) as (url, _):
        one = team.remote(url, timeout=STEADY)
        assert one.fetch(record.key, team.theirs) == record
    assert one.warnings == []


def test_a_drive_that_takes_its_time_to_sync(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[int, int] = {}

    def sync(handle: int) -> None:
        inode, size = os.fstat(handle).st_ino, os.fstat(handle).st_size
        time.sleep((size - synced.get(inode, 0)) / 3e6)
        synced[inode] = size

    monkeypatch.setattr(os, "fdatasync", sync)
    monkeypatch.setattr(os, "fsync", sync)
    record = result(team.mine, "a", out={"m": os.urandom(10_000_000)})
    one = team.remote(timeout=STEADY)
    assert one.push([record], team.mine) == {record.key: "uploaded"}
    assert one.warnings == []
