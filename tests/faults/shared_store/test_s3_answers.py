"""Answers that no S3 server should give, and uploads in parts that do not come to their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from remotes import Asked, key, misbehaving, result, within
from teams import PATIENCE, Team

from edgepipe.remote import RemoteError

STARTED = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"

PUSH = """
import sys
from pathlib import Path
from edgepipe.project import Project
from edgepipe.remote import Remote
from edgepipe.store import Store
root = Path(sys.argv[1])
store = Store(root)
table = {"url": "s3://bucket", "endpoint": sys.argv[2]}
remote = Remote.open(Project(root, (), store.root, remote=table))
try:
    remote.push([store.record(key) for key in store.records.keys()], store)
finally:
    remote.close()
"""


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_end_that_is_no_object(team: Team, status: int) -> None:
    sent = 0

    def endless(asked: Asked) -> None:
        nonlocal sent
        asked.head(status)
        while True:
            asked.body(b" " * 65536)
            sent += 65536

    with misbehaving(endless) as (url, _):
        one = team.remote("s3://bucket", endpoint=url, timeout=PATIENCE)
        with within(10), pytest.raises(RemoteError, match="its answer does not end"):
            list(one.keys())
        if status == 500:
            assert one.fetch(key("a"), team.theirs) is None
    # What the sockets hold, and no more.
    assert sent < 64 << 20


def test_a_listing_that_begins_again_and_again(team: Team) -> None:
    body = (
        b"<ListBucketResult><NextContinuationToken>same</NextContinuationToken></ListBucketResult>"
    )

    def again(asked: Asked) -> None:
        asked.head(200, len(body))
        asked.body(body)

    with misbehaving(again) as (url, asked):
        one = team.remote("s3://bucket", endpoint=url)
        with pytest.raises(RemoteError, match="its list has no end"):
            list(one.keys())
    assert len(asked) == 2


def test_an_object_whose_length_is_not_said(team: Team) -> None:
    record = result(team.mine, "a", out={"m": b"1" * 1000})
    team.remote().push([record], team.mine)
    more = b""

    def answer(asked: Asked) -> None:
        path = team.shared / asked.path.removeprefix("/bucket/")
        asked.head(200)
        asked.body(path.read_bytes() + (more if path == team.file_of(record) else b""))

    with misbehaving(answer) as (url, _):
        more = b"1"
        one = team.remote("s3://bucket", endpoint=url)
        assert one.fetch(record.key, team.theirs) is None
        assert "it has more than 1000 bytes" in one.warnings[0]
        more = b""
        one = team.remote("s3://bucket", endpoint=url)
        assert one.fetch(record.key, team.theirs) == record
        assert one.warnings == []


def test_an_interrupt_while_the_client_is_imported(team: Team) -> None:
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'fsspec.asyn': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    listing = PUSH.partition("try:")[0] + "list(remote.keys())\n"
    command = [sys.executable, "-c", code + listing, str(team.mine.root), "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.stderr.rstrip().endswith(b"KeyboardInterrupt")
    assert b"never awaited" not in done.stderr


def in_parts(part: Callable[[Asked, int], None]) -> Callable[[Asked], None]:
    """A server that has nothing yet, and takes each part as a function does."""

    def answer(asked: Asked) -> None:
        if asked.method == "PUT" and "partNumber=" in asked.path:
            part(asked, int(asked.path.split("partNumber=")[1].split("&")[0]))
            return
        asked.handler.rfile.read(int(asked.headers.get("Content-Length") or 0))
        if asked.method == "POST":
            asked.head(200, len(STARTED))
            asked.body(STARTED)
        else:
            asked.head(404 if asked.method in {"GET", "HEAD"} else 204, 0)

    return answer


def test_no_part_is_sent_after_the_upload_was_aborted(team: Team) -> None:
    record = result(team.mine, "a", out={"m": os.urandom(17 << 20)})
    second = threading.Event()
    whole: list[bool] = []

    def part(asked: Asked, number: int) -> None:
        if number == 1:
            second.wait(10)
            asked.head(403, 0)
            return
        second.set()
        left = int(asked.headers["Content-Length"])
        while left and (piece := asked.handler.rfile.read1(min(left, 256 << 10))):
            left -= len(piece)
            time.sleep(0.1)
        whole.append(left == 0)

    with misbehaving(in_parts(part)) as (url, asked):
        one = team.remote("s3://bucket", endpoint=url)
        assert one.push([record], team.mine) == {record.key: "failed"}
        assert [line.split()[0] for line in asked if "uploadId" in line][-1] == "DELETE"
        deadline = time.monotonic() + 10
        while not whole and time.monotonic() < deadline:
            time.sleep(0.05)
    assert whole == [False]


def test_an_interrupt_aborts_uploads_in_parts(team: Team) -> None:
    result(team.mine, "a", out={"m": os.urandom(17 << 20)})
    begun = threading.Event()

    def part(asked: Asked, number: int) -> None:
        begun.set()
        asked.hang()

    with misbehaving(in_parts(part)) as (url, asked):
        process = subprocess.Popen(
            [sys.executable, "-c", PUSH, str(team.mine.root), url], stderr=subprocess.PIPE
        )
        assert begun.wait(30)
        process.send_signal(signal.SIGINT)
        with within(8):
            _, said = process.communicate()
    assert asked[-1].startswith("DELETE")
    assert said.rstrip().endswith(b"KeyboardInterrupt")
