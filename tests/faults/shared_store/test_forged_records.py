"""Records that are forged or wrong: refused, with the reason."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from remotes import TEAM_KEY, key, result, web_server
from teams import Team, forge, write

from edgepipe.digest import canonical
from edgepipe.signing import Signer
from edgepipe.store import Record, Store


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


def forge_fields(team: Team, record: Record, **change: Any) -> None:
    envelope = {"edgepipe": 1, "record": {**asdict(record), **change}, "hmac-sha256": None}
    write(team.record_path(record), json.dumps(envelope).encode())


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


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
        {"seconds": "1"},
        {"seconds": 10**400},
        {"seconds": -1},
        {"cpu_seconds": 1e300},
        {"created": 1e300},
        {"created": -1.0},
        {"metrics": {"accuracy": True}},
        {"metrics": {"accuracy": 10**400}},
        {"metrics": {"two\nlines": 1}},
        {"metrics": [1]},
        {"peak_memory": -1},
        {"peak_memory": 1 << 63},
        {"kind": "\x1b[2J"},
        {"kind": "\u202eevil"},
        {"kind": "x" * 1001},
        {"outputs": {"out": {"type": "Folder", "tree": key("x")}}},
        {"outputs": {"\ud800": {"type": "Folder", "tree": key("x"), "size": 1}}},
        {"outputs": []},
        {"made_of": None},
        {"made_of": {"inputs": []}},
        {"made_of": {"requires": {"torch": 1}}},
        {"made_of": {"params": {"\ud800": 1}}},
        {"made_of": {"params": nested(200)}},
        {"manifests": {"code": "../../x"}},
    ],
    ids=range(24),
)
def test_a_record_with_fields_that_cannot_be(team: Team, change: dict[str, Any]) -> None:
    record = result(team.mine, "a")
    forge_fields(team, record, **change)
    refused(team, record, f"its field '{next(iter(change))}' cannot be right")


def test_a_record_with_another_field(team: Team) -> None:
    record = result(team.mine, "a")
    forge_fields(team, record, unknown=1)
    refused(team, record, "its fields are not those of a record")


@pytest.mark.parametrize("depth", [500, 980, 5000])
def test_what_a_record_was_made_of_is_nested_too_deep(team: Team, depth: int) -> None:
    record = result(team.mine, "a")
    whole = json.dumps({"edgepipe": 1, "record": asdict(record), "hmac-sha256": None})
    deep = "[" * depth + "]" * depth
    write(
        team.record_path(record), whole.replace('"params": {', f'"params": {{"x": {deep},').encode()
    )
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "a record on the remote was refused: it" in one.warnings[0]
    team.nothing_came()


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


BROKEN = {
    "empty": b"",
    "cut off": b'{"edgepipe":1,"hmac-sha256":null,"rec',
    "zeros": bytes(300),
    "a page": b"<html>",
}


@pytest.mark.parametrize("protocol", ["folder", "http"])
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_broken_records_do_not_keep_the_others_away(team: Team, body: bytes, protocol: str) -> None:
    records = [result(team.mine, f"r{number}") for number in range(20)]
    team.remote().push(records, team.mine)
    broken = sorted(record.key for record in records)[:5]
    for record in records:
        if record.key in broken:
            write(team.record_path(record), body)
    with web_server(team.shared) as url:
        one = team.remote(url) if protocol == "http" else team.remote()
        # The broken ones first, each by itself: nothing good was seen yet.
        for key_ in broken:
            assert one.fetch(key_, team.theirs) is None
        found = one.fetch_many([record.key for record in records], team.theirs)
    assert len(found) == 15
    (warning,) = one.warnings
    assert warning.startswith("a record on the remote was refused: it is no record (key ")
    assert warning.endswith("more like it)")
    outcomes = team.remote().push(records, team.mine)
    assert {key for key, outcome in outcomes.items() if outcome == "uploaded"} == set(broken)
    assert "failed" not in outcomes.values()
    third = Store(team.root / "third")
    assert len(team.remote().fetch_many([r.key for r in records], third)) == 20
