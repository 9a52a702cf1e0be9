"""A remote that hangs, breaks off, lies or is forged: bounded time, a warning, nothing wrong kept."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from remotes import (
    SECRET,
    TEAM_KEY,
    Asked,
    bucket,
    content,
    credentials,
    key,
    misbehaving,
    remote,
    result,
    s3_server,
    web_server,
    within,
)

from edgepipe.digest import canonical, digest_bytes
from edgepipe.errors import EdgepipeError
from edgepipe.project import Project
from edgepipe.remote import Remote
from edgepipe.remote.cloud import explained
from edgepipe.remote.folder import bounded
from edgepipe.remote.transport import UnavailableError
from edgepipe.signing import Signer
from edgepipe.store import Output, Record, Store

PASSWORD = "pass-word-of-the-user"
PATIENCE = 1
"""Seconds that these remotes are given; what is well behaved gets the usual ten."""


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)


class Team:
    """A shared folder, two members' stores, and ways to hurt what is shared."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shared = root / "shared"
        self.mine = Store(root / "mine")
        self.theirs = Store(root / "theirs")
        self.opened: list[Remote] = []

    def remote(self, url: str = "../shared", **settings: Any) -> Remote:
        self.opened.append(remote(self.root / "project", url, **settings))
        return self.opened[-1]

    def record_path(self, record: Record) -> Path:
        return self.shared / "records" / record.key[:2] / record.key[2:]

    def object_path(self, digest: str) -> Path:
        return self.shared / "objects" / digest[:2] / digest[2:]

    def file_of(self, record: Record) -> Path:
        (file,) = self.mine.tree(record.outputs["out"].tree).files
        return self.object_path(file.digest)

    def nothing_came(self, digest: str = "") -> None:
        """No record, no half file, and none that is not what its name says."""
        assert list(self.theirs.records.keys()) == []
        for path in self.theirs.root.rglob("*"):
            if path.is_file():
                name = path.parent.name + path.name
                assert path.parent.parent.name == "objects", path
                body = path.read_bytes()
                assert name in {digest_bytes(tag, body) for tag in ("file", "tree")}
                assert name != digest


def write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(body)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    one = Team(tmp_path)
    yield one
    for opened in one.opened:
        opened.close()


# A tampered object.


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "flipped": (flipped, "it is not what its digest says"),
    "truncated": (lambda body: body[:-1], "it has 9999 bytes where 10000 are right"),
    "emptied": (lambda body: b"", "it has 0 bytes where 10000 are right"),
    "longer": (lambda body: body + b"x", "it has more than 10000 bytes"),
}


@pytest.mark.parametrize("over", ["folder", "http"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_tampered_object_is_refused_and_healed(team: Team, damage: str, over: str) -> None:
    record = result(team.mine, "a", out={"model": b"0123456789" * 1000})
    team.remote().push([record], team.mine)
    path = team.file_of(record)
    change, said = DAMAGE[damage]
    write(path, change(path.read_bytes()))
    if over == "http":
        with web_server(team.shared) as url:
            web = team.remote(url)
            assert web.fetch(record.key, team.theirs) is None
            warnings = web.warnings
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    for warning in (warnings, one.warnings) if over == "http" else (one.warnings,):
        (text,) = warning
        assert text.startswith(f"the object {path.parent.name + path.name[:10]} on the remote")
        assert text.endswith(f"was refused: {said}")
    team.nothing_came(path.parent.name + path.name)
    # Who made the result anew gives it back to the others.
    one.offer(result(team.theirs, "a", out={"model": b"0123456789" * 1000}), team.theirs)
    assert one.flush(20) == 0
    assert team.remote().fetch(record.key, Store(team.root / "third")) == record


def test_a_result_that_comes_out_differently_replaces_a_useless_one(team: Team) -> None:
    record = result(team.mine, "a", out={"model": b"1"})
    team.remote().push([record], team.mine)
    write(team.file_of(record), b"2")
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    other = result(team.theirs, "a", out={"model": b"3"})
    one.offer(other, team.theirs)
    assert one.flush(20) == 0
    assert team.remote().fetch(record.key, Store(team.root / "third")) == other


def test_a_tampered_tree_is_refused(team: Team) -> None:
    record = result(team.mine, "a", out={"model": b"1"})
    other = result(team.mine, "b", out={"model": b"2"})
    team.remote().push([record, other], team.mine)
    tree = team.object_path(record.outputs["out"].tree)
    write(tree, team.object_path(other.outputs["out"].tree).read_bytes())
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "was refused: it is not what its digest says" in one.warnings[0]
    team.nothing_came()
    assert one.fetch(other.key, team.theirs) == other


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/outside", "a/../../outside", "", ".", "a//b", "a/", 7]
)
def test_a_tree_that_names_files_outside_is_refused(team: Team, path: Any) -> None:
    body = b"owned"
    file = digest_bytes("file", body)
    listed = canonical([{"path": path, "digest": file, "size": len(body)}])
    tree = digest_bytes("tree", listed)
    write(team.object_path(file), body)
    write(team.object_path(tree), listed)
    record = replace(result(team.mine, "a"), outputs={"out": Output("Folder", tree, 5)})
    forge(team, record)
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "was refused: it is no list of files" in one.warnings[0]
    team.nothing_came()


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "A" * 64, "0" * 63, 5, None])
def test_what_is_no_digest_becomes_no_path(team: Team, digest: Any) -> None:
    record = result(team.mine, "a")
    body = asdict(record)
    body["outputs"]["out"]["tree"] = digest
    write(team.record_path(record), canonical({"edgepipe": 1, "record": body, "hmac-sha256": None}))
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "its fields are not those of a record" in one.warnings[0]
    assert one.fetch_many(["../../../../etc/passwd", "x", ""], team.theirs) == {}


def test_an_object_that_is_missing(team: Team) -> None:
    record = result(team.mine, "a", out={"model": b"1"})
    team.remote().push([record], team.mine)
    team.file_of(record).unlink()
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "has a record but not its object" in one.warnings[0]
    team.nothing_came()
    # A push looks at all objects again.
    assert team.remote().push([record], team.mine) == {record.key: "there"}
    assert team.remote().fetch(record.key, team.theirs) == record


def test_a_pipe_in_place_of_an_object(team: Team) -> None:
    record = result(team.mine, "a", out={"model": b"1"})
    team.remote().push([record], team.mine)
    path = team.file_of(record)
    path.unlink()
    os.mkfifo(path)
    one = team.remote()
    with within(8):
        assert one.fetch(record.key, team.theirs) is None
    assert "it is no regular file" in one.warnings[0]


def test_an_object_that_is_damaged_here_is_not_spread(team: Team) -> None:
    record = result(team.mine, "a", out={"model": b"0123456789"})
    (file,) = team.mine.tree(record.outputs["out"].tree).files
    path = team.mine.object_path(file.digest)
    path.chmod(0o644)
    path.write_bytes(flipped(b"0123456789"))
    one = team.remote()
    assert one.push([record], team.mine) == {record.key: "failed"}
    assert "it is damaged here" in one.warnings[0]
    assert not team.file_of(record).exists()
    assert not team.record_path(record).exists()
    assert list((team.shared / "tmp").iterdir()) == []


def test_a_large_object_that_is_damaged_here_leaves_no_parts(team: Team, s3: str) -> None:
    body = bytes(range(251)) * 100_000
    record = result(team.mine, "a", out={"model": body})
    (file,) = team.mine.tree(record.outputs["out"].tree).files
    path = team.mine.object_path(file.digest)
    path.chmod(0o644)
    path.write_bytes(flipped(body))
    url, client = bucket(s3)
    one = team.remote(url, endpoint=s3)
    assert one.push([record], team.mine) == {record.key: "failed"}
    assert "it is damaged here" in one.warnings[0]
    name = url.split("/")[2]
    assert client.list_multipart_uploads(Bucket=name).get("Uploads", []) == []
    names = [item["Key"] for item in client.list_objects_v2(Bucket=name).get("Contents", [])]
    assert not [key for key in names if "records" in key or file.digest[2:] in key]


def test_a_result_that_is_not_whole_here_is_not_pushed(team: Team) -> None:
    for name, hurt in (("a", Path.unlink), ("b", lambda path: write(path, b"[]"))):
        record = result(team.mine, name, out={"model": name.encode()})
        hurt(team.mine.object_path(record.outputs["out"].tree))
        one = team.remote()
        assert one.push([record], team.mine) == {record.key: "failed"}
        assert "a result was not uploaded: the cache does not hold it whole" in one.warnings[0]
    assert not (team.shared / "records").exists()


def test_a_result_that_cannot_be_sent(team: Team) -> None:
    records = [
        replace(result(team.mine, "a"), metrics={"accuracy": float("nan")}),
        replace(result(team.mine, "b"), made_of={"text": "x" * (5 << 20)}),
        result(team.mine, "c"),
    ]
    one = team.remote()
    outcomes = one.push(records, team.mine)
    assert list(outcomes.values()) == ["failed", "failed", "uploaded"]
    assert "a result was not uploaded: not finite: nan (and 1 more like it)" in one.warnings


def test_an_explanation_that_is_tampered_with_is_left_out(team: Team) -> None:
    note = result(team.mine, "note", out={"n": b"why"})
    (file,) = team.mine.tree(note.outputs["out"].tree).files
    record = replace(result(team.mine, "a"), manifests={"code": file.digest})
    team.remote().push([record], team.mine)
    write(team.object_path(file.digest), b"who")
    one = team.remote()
    assert one.fetch(record.key, team.theirs) == record
    assert "was refused: it is not what its digest says" in one.warnings[0]
    assert not team.theirs.object_path(file.digest).exists()


# A forged record.


def forge(team: Team, record: Record, signer: Signer | None = None, **change: Any) -> None:
    """Put a record on the remote as somebody could who may write there."""
    body = asdict(record)
    signature = signer.sign("edgepipe record 1", canonical(body)) if signer else None
    envelope = {"edgepipe": 1, "record": body, "hmac-sha256": signature, **change}
    write(team.record_path(record), json.dumps(envelope).encode())


@pytest.fixture
def signed(team: Team, monkeypatch: pytest.MonkeyPatch) -> tuple[Record, Record]:
    """Two signed results on the remote; this process has the key."""
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", TEAM_KEY)
    records = (
        result(team.mine, "good", out={"model": b"good"}),
        result(team.mine, "bad", out={"model": b"bad"}),
    )
    assert set(team.remote().push(records, team.mine).values()) == {"uploaded"}
    return records


def refused(team: Team, record: Record, reason: str) -> None:
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    (warning,) = one.warnings
    assert f"a record on the remote was refused: {reason} (key {record.key[:12]}" in warning
    assert one.traffic.objects_down == 0
    team.nothing_came()
    # Who makes the result anew puts a good record in its place.
    one.offer(record, team.mine)
    assert one.flush(20) == 0
    assert team.remote().fetch(record.key, team.theirs) == record


def test_a_key_that_is_pointed_at_another_valid_object(
    team: Team, signed: tuple[Record, Record]
) -> None:
    good, bad = signed
    envelope = json.loads(team.record_path(good).read_bytes())
    envelope["record"]["outputs"] = asdict(bad)["outputs"]
    write(team.record_path(good), canonical(envelope))
    refused(team, good, "its signature is wrong")


def test_a_valid_record_under_another_key(team: Team, signed: tuple[Record, Record]) -> None:
    good, bad = signed
    write(team.record_path(good), team.record_path(bad).read_bytes())
    refused(team, good, "it is the record of another key")


def test_a_record_whose_key_was_changed_with_it(team: Team, signed: tuple[Record, Record]) -> None:
    good, bad = signed
    envelope = json.loads(team.record_path(bad).read_bytes())
    envelope["record"]["key"] = good.key
    write(team.record_path(good), canonical(envelope))
    refused(team, good, "its signature is wrong")


@pytest.mark.parametrize("field", ["metrics", "seconds", "kind", "made_of", "manifests"])
def test_a_record_of_which_one_field_was_changed(
    team: Team, signed: tuple[Record, Record], field: str
) -> None:
    good, _ = signed
    value = {
        "metrics": {"accuracy": 0.99},
        "seconds": 1.25,
        "kind": "other",
        "made_of": {},
        "manifests": {"code": key("x")},
    }[field]
    envelope = json.loads(team.record_path(good).read_bytes())
    envelope["record"][field] = value
    write(team.record_path(good), canonical(envelope))
    refused(team, good, "its signature is wrong")


@pytest.mark.parametrize("missing", [None, "gone"])
def test_a_signature_that_was_taken_away(
    team: Team, signed: tuple[Record, Record], missing: str | None
) -> None:
    good, _ = signed
    forge(team, good)
    if missing:
        envelope = json.loads(team.record_path(good).read_bytes())
        del envelope["hmac-sha256"]
        write(team.record_path(good), canonical(envelope))
    refused(team, good, "it is not signed")


@pytest.mark.parametrize("signature", ["", "0" * 64, 7, ["x"], {}, True, "é", "\ud800"])
def test_a_signature_that_is_none(
    team: Team, signed: tuple[Record, Record], signature: object
) -> None:
    good, _ = signed
    forge(team, good, **{"hmac-sha256": signature})
    refused(team, good, "its signature is wrong")


def test_a_signature_by_another_key(team: Team, signed: tuple[Record, Record]) -> None:
    good, _ = signed
    forge(team, good, Signer((b"a-key-that-somebody-made-up",)))
    refused(team, good, "its signature is wrong")


def test_a_downgrade_to_another_format(team: Team, signed: tuple[Record, Record]) -> None:
    good, _ = signed
    for number in (0, 2, "1", True, None):
        forge(team, good, edgepipe=number)
        one = team.remote()
        assert one.fetch(good.key, team.theirs) is None
        assert "results of another version of edgepipe" in one.warnings[0]
        team.nothing_came()
        # It may be of use to others: it stays.
        assert one.push([good], team.mine) == {good.key: "there"}


def test_without_a_key_a_record_of_another_key_is_refused_too(team: Team) -> None:
    good, bad = result(team.mine, "good"), result(team.mine, "bad")
    team.remote().push([good, bad], team.mine)
    write(team.record_path(good), team.record_path(bad).read_bytes())
    refused(team, good, "it is the record of another key")


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"seconds": "1"},
        {"seconds": 10**400},
        {"metrics": {"accuracy": True}},
        {"metrics": [1]},
        {"peak_memory": -1},
        {"kind": "\x1b[2J"},
        {"outputs": {"out": {"type": "Folder", "tree": key("x")}}},
        {"outputs": []},
        {"made_of": None},
        {"manifests": {"code": "../../x"}},
    ],
)
def test_a_record_with_fields_that_cannot_be(team: Team, change: dict[str, Any]) -> None:
    record = result(team.mine, "a")
    envelope = {"edgepipe": 1, "record": {**asdict(record), **change}, "hmac-sha256": None}
    write(team.record_path(record), json.dumps(envelope).encode())
    refused(team, record, "its fields are not those of a record")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please log in</html>",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"record": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"edgepipe": 1, "record": {"x": NaN}}',
        b'{"edgepipe": 1, "record": ' + b"9" * 10_000 + b"}",
    ],
    ids=range(11),
)
def test_what_is_no_record_is_refused(team: Team, body: bytes) -> None:
    record = result(team.mine, "a")
    write(team.record_path(record), body)
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "a record on the remote was refused: it " in one.warnings[0]
    team.nothing_came()


def test_a_record_without_end_is_not_read(team: Team) -> None:
    record = result(team.mine, "a")
    write(team.record_path(record), b" " * (5 << 20))
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "it has more than 4194304 bytes" in one.warnings[0]


# An upload that breaks off.


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
    old, new = team.shared / "tmp" / "old", team.shared / "tmp" / "new"
    for path, age in ((old, 25 * 3600), (new, 3600)):
        path.write_bytes(b"half")
        then = time.time() - age
        os.utime(path, (then, then))
    team.remote().push([result(team.mine, "a")], team.mine)
    assert list((team.shared / "tmp").iterdir()) == [new]


# A remote that hangs, fails or goes away.


def hang(asked: Asked) -> None:
    asked.hang()


def hang_after_the_head(asked: Asked) -> None:
    asked.head(200, 100)
    asked.hang()


def hang_in_the_body(asked: Asked) -> None:
    asked.head(200, 100)
    asked.body(b'{"edgepipe"')
    asked.hang()


def trickle(asked: Asked) -> None:
    asked.head(200, 1000)
    for _ in range(1000):
        asked.body(b" ")
        time.sleep(0.2)


def fail(asked: Asked) -> None:
    asked.head(500, 0)


def busy(asked: Asked) -> None:
    asked.head(503, 0)


def half(asked: Asked) -> None:
    asked.head(200, 100)
    asked.body(b'{"edgepipe"')
    asked.drop()


def drop(asked: Asked) -> None:
    asked.drop()


def deny(asked: Asked) -> None:
    asked.head(403, 0)


def log_in(asked: Asked) -> None:
    asked.head(200, 25)
    asked.body(b"<html>Please log in</html"[:25])


BEHAVIOUR = {
    hang: "no answer",
    hang_after_the_head: "no answer within 1 s|nothing came for 1 s",
    hang_in_the_body: "no answer within 1 s|nothing came for 1 s",
    trickle: "no answer within 1 s",
    fail: "it answered 500",
    busy: "it answered 503",
    # On a machine that is busy, patience may end before the first answer does.
    half: "the connection broke off|no answer within 1 s",
    drop: "the connection broke off|no answer within 1 s",
    deny: r"access was denied \(403\)",
    log_in: "what it gives is no record",
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


# Secrets.


def test_a_password_in_the_url_is_used_and_shown_nowhere(team: Team) -> None:
    import base64

    seen: list[str] = []

    def answer(asked: Asked) -> None:
        seen.append(str(asked.headers.get("Authorization")))
        asked.head(500, 0)

    with misbehaving(answer) as (url, asked):
        host = url.removeprefix("http://")
        secret = f"http://user:{PASSWORD}@{host}/cache?token=also-secret"
        one = team.remote(secret)
        assert one.fetch(key("a"), team.theirs) is None
        project = Project(team.root, (), team.root / "cache", remote={"url": secret})
    assert seen[0] == "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert asked[0].endswith("?token=also-secret")
    assert one.shown == f"{url}/cache"
    for text in (*one.warnings, repr(one.settings), repr(one), repr(project), str(one.traffic)):
        assert PASSWORD not in text
        assert "also-secret" not in text


def test_a_password_is_not_carried_to_where_a_server_points(team: Team) -> None:
    record = result(team.mine, "a")
    team.remote().push([record], team.mine)
    carried: list[object] = []

    def give(asked: Asked) -> None:
        carried.append(asked.headers.get("Authorization"))
        body = (team.shared / asked.path.lstrip("/")).read_bytes()
        asked.head(200, len(body))
        asked.body(body)

    with misbehaving(give) as (there, _):

        def point(asked: Asked) -> None:
            asked.handler.send_response(302)
            asked.handler.send_header("Location", there + asked.path)
            asked.handler.send_header("Content-Length", "0")
            asked.handler.end_headers()

        with misbehaving(point) as (url, _):
            one = team.remote(url.replace("http://", f"http://user:{PASSWORD}@"))
            assert one.fetch(record.key, team.theirs) == record
    assert set(carried) == {None}


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_errors_tell_no_secret(
    team: Team, verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import argparse
    import logging

    from edgepipe.cli import _remote

    monkeypatch.chdir(team.root)
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", TEAM_KEY)
    monkeypatch.setenv("EDGEPIPE_CACHE", str(team.mine.root))
    result(team.mine, "a")
    logging.basicConfig(level=logging.WARNING, force=True)
    with misbehaving(fail) as (url, _):
        host = url.removeprefix("http://")
        monkeypatch.setenv("EDGEPIPE_REMOTE", f"s3://AKIA:{PASSWORD}@bucket/x")
        (team.root / "edgepipe.toml").write_text(f"[remote]\nendpoint = 'http://{host}'\n")
        parser = argparse.ArgumentParser()
        getattr(_remote, f"configure_{verb}")(parser)
        try:
            assert getattr(_remote, verb)(parser.parse_args([])) == 1
        except EdgepipeError as error:
            print(error.render())
    said = "".join(capfd.readouterr())
    assert "it answered 500" in said
    for secret in (PASSWORD, SECRET, TEAM_KEY):
        assert secret not in said


def test_no_secret_is_in_what_is_shared(
    team: Team, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", TEAM_KEY)
    url, client = bucket(s3)
    name = url.split("/")[2]
    one = team.remote(url.replace("s3://", f"s3://AKIA:{PASSWORD}@"), endpoint=s3)
    assert set(one.push([result(team.mine, "a")], team.mine).values()) == {"uploaded"}
    listed = client.list_objects_v2(Bucket=name)["Contents"]
    assert len(listed) == 4
    for item in listed:
        answer = client.get_object(Bucket=name, Key=item["Key"])
        text = str(answer["Metadata"]).encode() + answer["Body"].read()
        for secret in (PASSWORD, TEAM_KEY, SECRET, "AKIA"):
            assert secret.encode() not in text
