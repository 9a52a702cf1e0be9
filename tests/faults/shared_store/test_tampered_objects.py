"""Objects that are not what they should be: refused, and healed where that can be done."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from remotes import bucket, result, web_server, within
from teams import Team, forge, write

from edgepipe.digest import canonical, digest_bytes
from edgepipe.store import File, Output, Store
from edgepipe.store.model import pack_tree


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


@pytest.mark.parametrize("sizes", [(5, 6), (6, 5), (6, 6)])
def test_a_tree_that_lies_about_a_size_hurts_nobody_elses_file(
    team: Team, sizes: tuple[int, int]
) -> None:
    own = result(team.theirs, "own", out={"m": b"12345"})
    other = result(team.mine, "other", out={"n": b"12345"})
    record = result(team.mine, "a", out={"m": b"12345"})
    team.remote().push([other, record], team.mine)
    digest = digest_bytes("file", b"12345")
    body = pack_tree([File(name, digest, size) for name, size in zip("ab", sizes, strict=True)])
    tree = digest_bytes("tree", body)
    write(team.object_path(tree), body)
    forge(team, replace(record, outputs={"out": Output("Folder", tree, 5)}))
    one = team.remote()
    assert one.fetch_many([record.key, other.key], team.theirs) == {other.key: other}
    (warning,) = one.warnings
    assert tree[:12] in warning
    assert "was refused: a file of it has another size" in warning
    assert team.theirs.damages == []
    assert Store(team.theirs.root).record(own.key) == own
    # Who makes the result gives it to the others.
    one.offer(result(team.theirs, "a", out={"m": b"12345"}), team.theirs)
    assert one.flush(20) == 0
    assert team.remote().fetch(record.key, Store(team.root / "third")) == record


def test_what_was_refused_once_is_used_where_it_was_made_again(team: Team) -> None:
    record = result(team.mine, "a", out={"m": b"12345"})
    same = result(team.mine, "b", out={"m": b"12345"})
    team.remote().push([record, same], team.mine)
    path = team.object_path(record.outputs["out"].tree)
    right = path.read_bytes()
    write(path, b"wrong")
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    result(team.theirs, "a", out={"m": b"12345"})
    write(path, right)
    assert one.fetch(same.key, team.theirs) == same


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


def test_of_a_record_with_a_tampered_tree_no_file_is_fetched(team: Team) -> None:
    files = {f"f{i}": b"%d" % i for i in range(100)}
    record = result(team.mine, "a", out={"model": b"1"}, more=files)
    team.remote().push([record], team.mine)
    write(team.object_path(record.outputs["out"].tree), b"junk")
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert one.flow.expected == 0
    assert len(one.warnings) == 1


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "/etc/outside",
        "a/../../outside",
        "",
        ".",
        "a//b",
        "a/",
        7,
        "a\0b",
        "\ud800x",
        "\udcc3\udca9",
        "a" * 256,
        "a/" * 2048 + "a",
    ],
    ids=range(13),
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
    assert "was refused: it names a file that is outside, or can be nowhere" in one.warnings[0]
    team.nothing_came()


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b/c"], ["a/b/c", "a/b"]])
def test_a_tree_whose_files_cannot_lie_side_by_side_is_refused(team: Team, paths: Any) -> None:
    file = digest_bytes("file", b"")
    listed = canonical([{"path": path, "digest": file, "size": 0} for path in paths])
    tree = digest_bytes("tree", listed)
    write(team.object_path(file), b"")
    write(team.object_path(tree), listed)
    record = replace(result(team.mine, "a"), outputs={"out": Output("Folder", tree, 0)})
    forge(team, record)
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "was refused: " in one.warnings[0]
    team.nothing_came()


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "A" * 64, "0" * 63, 5, None])
def test_what_is_no_digest_becomes_no_path(team: Team, digest: Any) -> None:
    record = result(team.mine, "a")
    body = asdict(record)
    body["outputs"]["out"]["tree"] = digest
    write(team.record_path(record), canonical({"edgepipe": 1, "record": body, "hmac-sha256": None}))
    one = team.remote()
    assert one.fetch(record.key, team.theirs) is None
    assert "its field 'outputs' cannot be right" in one.warnings[0]
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
    text = "a result was not uploaded: its field 'metrics' cannot be right (and 1 more like it)"
    assert text in one.warnings


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
