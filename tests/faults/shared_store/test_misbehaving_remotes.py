"""A remote that hangs, fails, breaks off or never ends: bounded time, and a warning."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable

import pytest
from misbehaviour import (
    busy,
    deny,
    drip,
    drop,
    fail,
    half,
    hang,
    hang_after_the_head,
    hang_in_the_body,
    log_in,
    trickle,
)
from remotes import (
    Asked,
    content,
    key,
    misbehaving,
    result,
    within,
)
from teams import PATIENCE, Team

BEHAVIOUR = {
    hang: "no answer",
    hang_after_the_head: "no answer within 1 s|nothing came for 1 s",
    hang_in_the_body: "no answer within 1 s|nothing came for 1 s",
    trickle: "no answer within 1 s",
    drip: "no answer within 1 s",
    fail: "it answered 500",
    busy: "it answered 503",
    # On a machine that is busy, patience may end before the first answer does.
    half: "the connection broke off|no answer within 1 s",
    drop: "the connection broke off|no answer within 1 s",
    deny: r"access was denied \(403\)",
    log_in: "what it gives is no record|no answer within 1 s",
}


@pytest.mark.parametrize("protocol", ["http", "s3"])
@pytest.mark.parametrize("how", BEHAVIOUR, ids=lambda how: how.__name__)
def test_a_remote_that_does_not_behave(
    team: Team, how: Callable[[Asked], None], protocol: str
) -> None:
    with misbehaving(how) as (url, asked):
        if protocol == "http":
            one = team.remote(f"{url}/cache", timeout=PATIENCE)
        else:
            one = team.remote("s3://bucket/cache", endpoint=url, timeout=PATIENCE)
        told: list[str] = []
        one.on_warning(told.append)
        # Three requests of a second each would do; the rest is for a machine that is busy.
        with within(15):
            assert one.fetch_many([key(str(n)) for n in range(200)], team.theirs) == {}
        with within(1):
            assert one.fetch(key("more"), team.theirs) is None
        with within(5):
            one.offer(result(team.mine, "a"), team.mine)
            assert one.flush(30) == (protocol == "s3")
    # Of 200: the 16 that were under way at once, four times each at most, and few that came after
    # the first of these had failed.
    assert len(asked) <= 100
    given_up = [text for text in told if "is not asked any more" in text]
    assert len(given_up) == 1
    assert given_up[0].endswith("; going on without it")
    assert len([text for text in one.warnings if "is not asked any more" in text]) == 1
    assert re.search(BEHAVIOUR[how], given_up[0]), given_up
    team.nothing_came()


@pytest.mark.parametrize("protocol", ["http", "s3"])
def test_a_remote_that_refuses_connections(team: Team, protocol: str) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody else can take the port meanwhile.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        http = protocol == "http"
        one = team.remote(url) if http else team.remote("s3://bucket", endpoint=url)
        with within(10):
            assert one.fetch_many([key(str(n)) for n in range(100)], team.theirs) == {}
    (warning,) = one.warnings
    assert "the connection was refused; going on without it" in warning


def test_one_node_after_the_other_is_bounded_too(team: Team) -> None:
    with misbehaving(hang) as (url, asked):
        one = team.remote(url, timeout=PATIENCE)
        with within(10):
            for number in range(50):
                assert one.fetch(key(str(number)), team.theirs) is None
    assert len(asked) <= 3


def test_a_server_that_vanishes_in_the_middle(team: Team) -> None:
    records = [result(team.mine, f"r{n}", out={"m": os.urandom(1000)}) for n in range(30)]
    team.remote().push(records, team.mine)
    count = iter(range(10**6))

    def vanish(asked: Asked) -> None:
        path = team.shared / asked.path.lstrip("/")
        if next(count) >= 75:
            asked.drop()
            return
        body = path.read_bytes()
        asked.head(200, len(body))
        asked.body(body)

    with misbehaving(vanish) as (url, _):
        one = team.remote(url)
        with within(20):
            found = one.fetch_many([r.key for r in records], team.theirs)
    # 30 records, 30 trees, then some of the files.
    assert 0 < len(found) <= 15
    assert sorted(found) == list(team.theirs.records.keys())
    for record in found.values():
        assert content(team.theirs, record, team.root / record.key)
    assert [text for text in one.warnings if "going on without it" in text]


def test_a_hiccup_is_tried_again(team: Team) -> None:
    record = result(team.mine, "a", out={"m": os.urandom(100_000)})
    team.remote().push([record], team.mine)
    count = iter(range(10**6))

    def hiccup(asked: Asked) -> None:
        body = (team.shared / asked.path.lstrip("/")).read_bytes()
        if next(count) % 2 == 0:
            asked.head(200, len(body))
            asked.body(body[: len(body) // 2])
            asked.drop()
            return
        asked.head(200, len(body))
        asked.body(body)

    with misbehaving(hiccup) as (url, asked):
        one = team.remote(url)
        assert one.fetch(record.key, team.theirs) == record
    assert len(asked) == 6
    assert one.warnings == []


def test_a_body_without_end_is_cut(team: Team) -> None:
    record = result(team.mine, "a", out={"m": b"1" * 1000})
    team.remote().push([record], team.mine)
    file = team.file_of(record)
    sent = 0

    def endless(asked: Asked) -> None:
        nonlocal sent
        path = team.shared / asked.path.lstrip("/")
        if path != file:
            body = path.read_bytes()
            asked.head(200, len(body))
            asked.body(body)
            return
        asked.head()
        while True:
            asked.body(b"1" * 65536)
            sent += 65536

    with misbehaving(endless) as (url, _):
        one = team.remote(url)
        with within(10):
            assert one.fetch(record.key, team.theirs) is None
    assert "it has more than 1000 bytes" in one.warnings[0]
    # What the sockets hold, and no more.
    assert sent < 64 << 20
    team.nothing_came()


def test_a_body_that_inflates_is_not_inflated(team: Team) -> None:
    import gzip

    record = result(team.mine, "a", out={"m": b"1"})
    body = gzip.compress(b" " * (64 << 20))

    def inflate(asked: Asked) -> None:
        asked.handler.send_response(200)
        asked.handler.send_header("Content-Encoding", "gzip")
        asked.handler.send_header("Content-Length", str(len(body)))
        asked.handler.end_headers()
        asked.body(body)

    with misbehaving(inflate) as (url, _):
        one = team.remote(url)
        assert one.fetch(record.key, team.theirs) is None
    assert "it is no record" in one.warnings[0]
