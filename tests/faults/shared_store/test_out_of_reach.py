"""A remote that is not there or not allowed, and a cache that cannot take what it has."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from misbehaviour import fail
from remotes import Asked, key, misbehaving, result, within
from teams import PASSWORD, Team

from edgepipe.remote.cloud import explained
from edgepipe.remote.folder import bounded
from edgepipe.remote.transport import UnavailableError


def test_a_bucket_that_is_not_there(team: Team, s3: str) -> None:
    one = team.remote("s3://no-such-bucket-here", endpoint=s3)
    assert one.fetch_many([key(str(n)) for n in range(9)], team.theirs) == {}
    (warning,) = one.warnings
    assert "there is no such bucket" in warning


def test_a_drive_that_is_not_mounted(team: Team) -> None:
    one = team.remote("/nowhere/mounted/cache")
    assert one.fetch_many([key(str(n)) for n in range(9)], team.theirs) == {}
    (warning,) = one.warnings
    assert "there is no such folder: is its drive mounted?" in warning
    assert not Path("/nowhere").exists()


def test_a_drive_that_hangs() -> None:
    ended = threading.Event()

    def stuck(tick: Callable[[], None]) -> None:
        tick()
        ended.wait(30)

    with within(5), pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
        bounded(stuck, 0.2)
    ended.set()

    def slow(tick: Callable[[], None]) -> str:
        for _ in range(10):
            time.sleep(0.1)
            tick()
        return "done"

    # Slow is not stuck.
    assert bounded(slow, 0.6) == "done"


def test_a_cache_that_cannot_be_written_is_not_the_remotes_fault(team: Team) -> None:
    record = result(team.mine, "a")
    team.remote().push([record], team.mine)
    team.theirs.root.write_text("no folder")
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    (warning,) = one.warnings
    assert warning.startswith("what the remote has could not be kept: ")
    assert one.given_up == ""


def test_a_cache_that_is_full_is_not_the_remotes_fault(team: Team) -> None:
    records = [
        result(team.mine, "small", out={"m": b"1"}),
        result(team.mine, "large", out={"m": os.urandom(3 << 20)}),
    ]
    one = team.remote()
    one.push(records, team.mine)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        found = one.fetch_many([r.key for r in records], team.theirs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert found == {records[0].key: records[0]}
    assert one.warnings == ["what the remote has could not be kept: file too large"]
    assert one.given_up == ""
    assert len(one.fetch_many([r.key for r in records], team.theirs)) == 2


def test_no_credentials(team: Team, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    one = team.remote("s3://bucket", endpoint=s3)
    assert one.fetch_many([key(str(n)) for n in range(9)], team.theirs) == {}
    (warning,) = one.warnings
    assert "no credentials were found; going on without it" in warning


def test_a_profile_that_is_not_there(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    one = team.remote("s3://bucket")
    assert one.fetch_many([key(str(n)) for n in range(40)], team.theirs) == {}
    (warning,) = one.warnings
    assert "no credentials were found; going on without it" in warning


def test_a_server_without_tls(team: Team) -> None:
    with misbehaving(fail) as (url, _):
        one = team.remote(url.replace("http://", "https://"))
        assert one.fetch_many([key(str(n)) for n in range(9)], team.theirs) == {}
    (warning,) = one.warnings
    assert "no secure connection could be made" in warning


def test_what_libraries_say_is_not_repeated() -> None:
    class SecretError(Exception):
        pass

    for error, said in (
        (socket.gaierror(-2, PASSWORD), "its host is not known"),
        (TimeoutError(PASSWORD), "no answer in time"),
        (ConnectionResetError(PASSWORD), "the connection broke off"),
        (SecretError(PASSWORD), "it failed with SecretError"),
    ):
        assert str(explained(error)) == said


def test_a_listing_of_several_pages(team: Team) -> None:
    def answer(asked: Asked) -> None:
        second = "continuation-token=more" in asked.path
        name = key("b" if second else "a")
        more = "" if second else "<NextContinuationToken>more</NextContinuationToken>"
        body = (
            f"<ListBucketResult>{more}<Contents><Key>x/records/{name[:2]}/{name[2:]}</Key></Contents>"
            "<Contents><Key>x/records/README</Key></Contents></ListBucketResult>"
        ).encode()
        asked.head(200, len(body))
        asked.body(body)

    with misbehaving(answer) as (url, asked):
        one = team.remote("s3://bucket/x", endpoint=url)
        assert list(one.keys()) == [key("a"), key("b")]
    assert len(asked) == 2
