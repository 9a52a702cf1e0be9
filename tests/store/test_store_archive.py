"""Carrying records by tar: what comes out goes in, and nothing else does."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from storing import broken_records, contents, key_of, objects, publish, put, record_of, wrong_names

from edgepipe.digest import canonical
from edgepipe.errors import StoreError
from edgepipe.store import Store, model
from edgepipe.store.archive import INDEX, export, take_in

FILES = {"a": b"one", "deep/b": bytes(100_000), "empty": b""}
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return Store(tmp_path / "other")


@pytest.fixture
def tar(store: Store, tmp_path: Path) -> Path:
    publish(store, "k", FILES)
    publish(store, "l", {"a": b"one"})
    path = tmp_path / "cache.tar"
    moved = export(store, path, [key_of("k"), key_of("l")])
    assert (moved.records, moved.objects) == (2, 5)
    return path


def untouched(store: Store) -> bool:
    return not objects(store.root) and not list(store.records.keys())


def test_what_comes_out_goes_in(tar: Path, store: Store, other: Store) -> None:
    moved = take_in(other, tar)
    assert (moved.records, moved.objects, moved.new) == (2, 5, 2)
    for name in ("k", "l"):
        record = store.record(key_of(name))
        assert record is not None
        assert other.record(key_of(name)) == record
        assert contents(other, record) == contents(store, record)
    assert wrong_names(other.root) == broken_records(other.root) == []
    assert take_in(other, tar).new == 0


def test_equal_content_gives_equal_bytes(tar: Path, other: Store, tmp_path: Path) -> None:
    take_in(other, tar)
    export(other, tmp_path / "again.tar", [key_of("l"), key_of("k")])
    assert (tmp_path / "again.tar").read_bytes() == tar.read_bytes()
    with tarfile.open(tar, "r:") as file:
        names = file.getnames()
    assert names[0] == INDEX
    of = {table: [name for name in names if name.startswith(table)] for table in ("obj", "rec")}
    assert names[1:] == sorted(of["obj"]) + sorted(of["rec"])


@pytest.mark.parametrize(
    "change", [{"created": 1e300}, {"made_of": {"inputs": 1}}, {"unknown": 1}], ids=str
)
def test_a_record_that_cannot_be_is_not_taken_in(
    tar: Path, other: Store, change: dict[str, object]
) -> None:
    def forged(members: Members) -> None:
        info, body = members[-1]
        changed = json.dumps({**json.loads(body.partition(b"\n")[2]), **change}).encode()
        body = b"2 " + model._record_digest(b"2", changed) + b"\n" + changed
        members[-1] = (info, body)
        info.size = len(body)
        declared(members, lambda index: index.update({info.name: len(body)}))

    rewrite(tar, forged)
    with pytest.raises(StoreError, match="in it is damaged: its field"):
        take_in(other, tar)
    assert untouched(other)


def test_manifests_are_carried(store: Store, other: Store, tmp_path: Path) -> None:
    manifest = store.put_bytes(canonical({"a": 1}))
    lost = "ab" * 32
    record = replace(record_of("k", put(store, FILES)), manifests={"code": manifest, "gone": lost})
    store.put_record(record)
    export(store, tmp_path / "cache.tar", [record.key])
    take_in(other, tmp_path / "cache.tar")
    assert other.record(record.key) == record
    assert other.get_json(manifest) == {"a": 1}


def test_a_record_that_is_not_whole_is_not_exported(store: Store, tmp_path: Path) -> None:
    record = publish(store, "k", FILES)
    objects(store.root)[0].unlink()
    for key in (record.key, key_of("absent")):
        with pytest.raises(StoreError, match="is missing or not whole"):
            export(store, tmp_path / "cache.tar", [key])
    assert [path for path in tmp_path.iterdir() if path.name != "store"] == []


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.9])
def test_a_tar_that_is_cut_off_is_refused(tar: Path, other: Store, share: float) -> None:
    body = tar.read_bytes()
    tar.write_bytes(body[: int(len(body) * share)])
    with pytest.raises(StoreError, match="cannot be imported"):
        take_in(other, tar)
    assert untouched(other)


def test_no_flipped_bit_comes_in(tar: Path, store: Store, tmp_path: Path) -> None:
    body = tar.read_bytes()
    refused = 0
    # Every part of the file in turn; padding of the tar may change without harm.
    for number, at in enumerate(range(0, len(body), 997)):
        flipped = bytearray(body)
        flipped[at] ^= 4
        tar.write_bytes(flipped)
        other = Store(tmp_path / f"other{number}")
        try:
            take_in(other, tar)
        except StoreError:
            refused += 1
        for key in map(key_of, "kl"):
            record = other.record(key)
            if record is None:
                continue
            assert record == store.record(key)
            assert contents(other, record) == contents(store, record)
        assert wrong_names(other.root) == []
        other.close()
    assert refused > 100


def rewrite(path: Path, change: Callable[[Members], Members | None]) -> None:
    with tarfile.open(path, "r:") as file:
        members = []
        for info in file:
            body = file.extractfile(info)
            assert body is not None
            members.append((info, body.read()))
    members = change(members) or members
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data) if info.isreg() else None)


def declared(members: Members, change: Callable[[dict[str, int]], None]) -> None:
    index = json.loads(members[0][1])
    change(index["members"])
    body = json.dumps(index).encode()
    members[0][0].size = len(body)
    members[0] = (members[0][0], body)


def _special(members: Members, kind: bytes, link: str = "") -> None:
    info = tarfile.TarInfo(members[1][0].name)
    info.type, info.linkname = kind, link
    members[1] = (info, b"")


def _renamed(members: Members, name: str) -> None:
    old = members[1][0].name
    declared(members, lambda index: index.update({name: index.pop(old)}))
    members[1][0].name = name


def _foreign(members: Members) -> None:
    at = next(i for i, (_, body) in enumerate(members) if body == b"one")
    members[at] = (members[at][0], b"two")


def _unknown(members: Members) -> None:
    info = tarfile.TarInfo("objects/ab/" + "c" * 62)
    members.insert(1, (info, b""))


def _sizes(members: Members) -> None:
    declared(members, lambda index: index.update({members[1][0].name: 10**15}))


def _other_size(members: Members) -> None:
    name = members[1][0].name
    declared(members, lambda index: index.update({name: index[name] + 1}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: _special(m, tarfile.SYMTYPE, "/etc/passwd"), "is no regular file"),
        (lambda m: _special(m, tarfile.LNKTYPE, "/etc/passwd"), "is no regular file"),
        (lambda m: _special(m, tarfile.CHRTYPE), "is no regular file"),
        (lambda m: _special(m, tarfile.FIFOTYPE), "is no regular file"),
        (lambda m: _special(m, tarfile.DIRTYPE), "is no regular file"),
        (lambda m: _special(m, tarfile.GNUTYPE_SPARSE), ""),
        (lambda m: _renamed(m, "../../../outside"), "names no object and no record"),
        (lambda m: _renamed(m, "/etc/passwd"), "names no object and no record"),
        (lambda m: _renamed(m, "objects/ab/../../x"), "names no object and no record"),
        (lambda m: _renamed(m, "roots/ab/" + "c" * 62), "names no object and no record"),
        (lambda m: _renamed(m, "objects/ab/" + "c" * 62), "is another"),
        (_foreign, "is another"),
        (_unknown, "is not what its index declares"),
        (_sizes, "more than the cache has room for"),
        (_other_size, "is not what its index declares"),
        (lambda m: m[:1] + m[2:], "is missing in it"),
        (lambda m: m[1:], "its first member is not"),
        (lambda m: m[:1], "is missing in it"),
        (lambda m: [*m, m[-1]], "is not what its index declares"),
        (lambda m: [(m[0][0], b"x" * len(m[0][1])), *m[1:]], "cannot be read"),
    ],
)
def test_a_forged_tar_is_refused(
    tar: Path, other: Store, tmp_path: Path, change: Callable[[Members], None], message: str
) -> None:
    rewrite(tar, change)
    with pytest.raises(StoreError, match=r"cannot be imported|is another|needs") as caught:
        take_in(other, tar)
    assert message in str(caught.value)
    assert list(other.records.keys()) == []
    assert wrong_names(other.root) == []
    other.close()
    assert {path.name for path in tmp_path.iterdir()} == {"store", "other", "cache.tar"}


def test_a_record_whose_object_is_not_in_the_tar_is_refused(tar: Path, other: Store) -> None:
    def without(members: Members) -> Members:
        declared(members, lambda index: index.pop(members[1][0].name))
        return members[:1] + members[2:]

    rewrite(tar, without)
    with pytest.raises(StoreError, match="is missing in it"):
        take_in(other, tar)
    assert list(other.records.keys()) == []


def test_what_is_no_tar_is_refused(other: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for body in (b"", b"x" * 5000, b"\x1f\x8b" + b"x" * 600):
        path.write_bytes(body)
        with pytest.raises(StoreError, match="cannot be imported"):
            take_in(other, path)
    with pytest.raises(StoreError, match="no such file"):
        take_in(other, tmp_path / "absent.tar")
    assert untouched(other)


def _chain(kind: bytes, body: bytes) -> bytes:
    """A header that says something of the next, which says something of the next, …"""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.GNU_FORMAT) + body.ljust(512, b"\0")


def _member(name: str, body: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    return info.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % 512)


RECORD = f"records/ab/{'c' * 62}"
HOSTILE = {
    "long names": _chain(tarfile.GNUTYPE_LONGNAME, b"a\0") * 2000,
    "long links": _chain(tarfile.GNUTYPE_LONGLINK, b"a\0") * 2000,
    "extended headers": _chain(tarfile.XHDTYPE, b"9 path=a\n") * 2000,
    "a damaged extended header": _chain(tarfile.XHDTYPE, b"999999999999 path=a\n"),
    "no number in a sparse header": _chain(tarfile.XHDTYPE, b"27 GNU.sparse.numbytes=abc\n")
    + _chain(tarfile.XHDTYPE, b"22 GNU.sparse.size=x\n"),
    "an index nested without end": _member(INDEX, b"[" * 100_000),
    "an index with a number without end": _member(INDEX, b"9" * 100_000),
    "an index of lists": _member(INDEX, b'{"version": 1, "members": [[]]}'),
    "a record nested without end": _member(
        INDEX, json.dumps({"version": 1, "members": {RECORD: 100_000}}).encode()
    )
    + _member(RECORD, b"[" * 100_000),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tar_is_refused_with_a_reason(body: bytes, other: Store, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(body + bytes(1024))
    with pytest.raises(StoreError, match="cannot be imported: ") as caught:
        take_in(other, path)
    assert "nothing of it was used" in caught.value.problems[0].hint
    assert untouched(other)
