"""Uploads that break off or fail: no reader sees half, and reading goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from misbehaviour import deny, drop, fail, hang
from remotes import (
    Asked,
    bucket,
    key,
    misbehaving,
    result,
    within,
)
from teams import PATIENCE, Team

from edgepipe.store import Store

PUSH = """
import sys
from pathlib import Path
from edgepipe.project import Project
from edgepipe.remote import Remote
from edgepipe.remote.cloud import explained
from edgepipe.store import Store
store = Store(Path(sys.argv[1]))
remote = Remote.open(Project(Path(sys.argv[1]), (), store.root, remote={"url": sys.argv[2],
                     "endpoint": sys.argv[3]}))
print("ready", flush=True)
remote.push([store.record(key) for key in store.records.keys()], store)
print("done", remote.warnings, flush=True)
"""


@pytest.mark.parametrize("over", ["folder", "s3"])
def test_a_push_that_is_killed_shows_no_reader_half(
    team: Team, over: str, request: pytest.FixtureRequest
) -> None:
    settings: dict[str, Any] = {"url": str(team.shared), "endpoint": ""}
    if over == "s3":
        settings["endpoint"] = request.getfixturevalue("s3")
        settings["url"], _ = bucket(settings["endpoint"])
    records = [
        result(team.mine, f"r{n}", out={"a": os.urandom(2 << 20), "b": os.urandom(1000)})
        for n in range(6)
    ]
    chance = random.Random(11)
    seen = 0
    for attempt in range(4):
        arguments = [str(team.mine.root), settings["url"], settings["endpoint"]]
        process = subprocess.Popen([sys.executable, "-c", PUSH, *arguments], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        reader = team.remote(**settings)
        store = Store(team.root / f"reader {attempt}")
        found = reader.records(record.key for record in records)
        # Whatever record is seen can be fetched whole.
        assert reader.fetch_many(found, store) == found
        assert reader.warnings == []
        seen = max(seen, len(found))
    last = team.remote(**settings)
    assert set(last.push(records, team.mine).values()) <= {"uploaded", "there"}
    assert last.fetch_many([r.key for r in records], team.theirs) == {r.key: r for r in records}


def test_no_reader_sees_a_record_before_its_objects(team: Team) -> None:
    records = [
        result(team.mine, f"r{n}", out={str(i): f"{n} {i}".encode() for i in range(10)})
        for n in range(15)
    ]
    keys = [record.key for record in records]
    pushing = threading.Thread(target=team.remote().push, args=(records, team.mine))
    pushing.start()
    rounds = 0
    while pushing.is_alive():
        rounds += 1
        reader = team.remote()
        found = reader.records(keys)
        assert reader.fetch_many(found, Store(team.root / f"reader {rounds}")) == found
        assert reader.warnings == []
    pushing.join()
    assert rounds > 0
    assert len(team.remote().fetch_many(keys, team.theirs)) == 15


def test_what_a_killed_upload_left_is_cleared_a_day_later(team: Team) -> None:
    (team.shared / "tmp").mkdir(parents=True)
    old, new = (team.shared / "tmp" / (2 * name) for name in ("0123456789abcdef", "f" * 16))
    for path, age in ((old, 25 * 3600), (new, 3600)):
        path.write_bytes(b"half")
        then = time.time() - age
        os.utime(path, (then, then))
    team.remote().push([result(team.mine, "a")], team.mine)
    assert list((team.shared / "tmp").iterdir()) == [new]


@pytest.mark.parametrize("how", [hang, fail, drop, deny], ids=lambda how: how.__name__)
def test_uploads_that_fail_leave_reading_alone(team: Team, how: Callable[[Asked], None]) -> None:
    def answer(asked: Asked) -> None:
        if asked.method in {"GET", "HEAD"}:
            asked.head(404, 0)
        else:
            how(asked)

    with misbehaving(answer) as (url, asked):
        one = team.remote("s3://bucket", endpoint=url, timeout=PATIENCE)
        for number in range(20):
            one.offer(result(team.mine, str(number)), team.mine)
        with within(15):
            assert one.flush(14) == 20
        assert one.given_up == ""
        assert one.fetch(key("x"), team.theirs) is None
        assert asked[-1].startswith("GET")
    warnings = one.warnings
    assert len([text for text in warnings if "results are not uploaded" in text]) == 1
    assert "20 results were not uploaded" in warnings[-1]


def test_the_end_of_a_run_does_not_wait_for_ever(team: Team) -> None:
    """Uploads that hang keep neither flush nor the process."""
    code = PUSH.replace(
        "remote.push([store.record(key) for key in store.records.keys()], store)",
        """
for key in store.records.keys():
    remote.offer(store.record(key), store)
import time
began = time.monotonic()
assert remote.flush(1.0) == 1
assert time.monotonic() - began < 5""",
    )
    result(team.mine, "a")
    with misbehaving(hang) as (url, _), within(20):
        arguments = [str(team.mine.root), "s3://bucket/x", url]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 0, done.stderr
    assert "1 result was not uploaded" in done.stdout
    # Neither does what hangs complain when the process ends.
    assert done.stderr == ""


def test_a_server_that_knows_no_conditional_writes(team: Team) -> None:
    held: dict[str, bytes] = {}

    def answer(asked: Asked) -> None:
        size = int(asked.headers.get("Content-Length") or 0)
        body = asked.handler.rfile.read(size)
        if asked.method != "PUT":
            asked.head(404, 0)
        elif asked.headers.get("If-None-Match"):
            asked.head(501, 0)
        else:
            held[asked.path] = body
            asked.head(200, 0)

    record = result(team.mine, "a")
    with misbehaving(answer) as (url, _):
        one = team.remote("s3://bucket/cache", endpoint=url)
        assert one.push([record], team.mine) == {record.key: "uploaded"}
        assert one.warnings == []
    assert len(held) == 4
    assert list(held)[-1] == f"/bucket/cache/records/{record.key[:2]}/{record.key[2:]}"
