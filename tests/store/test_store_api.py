"""What the store offers to the remote, the planner and the runner."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from storing import contents, key_of, objects, publish, put, record_of, wrong_names

from edgepipe.digest import canonical, digest_bytes
from edgepipe.errors import StoreError
from edgepipe.store import Store
from edgepipe.store.files import remove
from edgepipe.store.model import pack_record, unpack_record, unpack_tree

FILES = {"a": b"one", "deep/b": bytes(20 << 20)}


def test_a_fetched_object_is_adopted_only_if_it_is_what_it_should_be(
    store: Store, tmp_path: Path
) -> None:
    source = Store(tmp_path / "source")
    record = publish(source, "k", FILES)
    folder = store.staging()
    for path in objects(source.root):
        digest = path.parent.name + path.name
        fetched = folder / digest
        fetched.write_bytes(path.read_bytes() + b"!")
        with pytest.raises(StoreError, match="is another") as caught:
            store.adopt(fetched, digest)
        assert "it was not used" in caught.value.problems[0].hint
        assert not store.object_path(digest).exists()
        fetched.chmod(0o644)
        fetched.write_bytes(path.read_bytes())
        store.adopt(fetched, digest)
        assert not fetched.exists()
        # Once more: it is there already.
        fetched.write_bytes(path.read_bytes())
        store.adopt(fetched, digest)
    store.put_record(record)
    assert store.record(record.key) == record
    assert contents(store, record) == [FILES]
    assert wrong_names(store.root) == []


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "ab", "AB" * 32, "g" * 64])
def test_what_is_no_digest_leads_nowhere(store: Store, name: str) -> None:
    for action in (store.object_path, store.tree, store.get_json):
        with pytest.raises(StoreError, match="is no digest"):
            action(name)
    assert not store.has(name)
    assert store.record(name) is None
    assert not store.has_record(name)


def test_plain_data_is_kept_as_an_object(store: Store) -> None:
    value = {"b": [1, 2.5, None], "a": "ü"}
    digest = store.put_bytes(canonical(value))
    assert digest == digest_bytes("file", canonical(value))
    assert Store(store.root).get_json(digest) == value
    with pytest.raises(StoreError, match="cannot be read"):
        store.get_json("ab" * 32)
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(StoreError, match="is no JSON"):
            store.get_json(store.put_bytes(body))


@pytest.mark.parametrize(
    "change",
    [{"kind": "a\nb"}, {"metrics": {"a": float("nan")}}, {"made_of": {"x": "\ud800"}}],
    ids=["kind", "metrics", "made_of"],
)
def test_what_could_not_be_read_is_not_written(store: Store, change: dict[str, Any]) -> None:
    record = replace(record_of("k", put(store, {"a": b"1"})), **change)
    with pytest.raises(StoreError, match=f"cannot be kept: its field '{next(iter(change))}'"):
        store.put_record(record)
    assert not store.has_record(record.key)


def test_a_record_with_a_field_more_or_less_or_of_another_type_is_no_record() -> None:
    from edgepipe.store import model

    record = record_of("k")
    assert unpack_record(pack_record(record)) == record
    right = asdict(record)
    output = {"type": "Numbers", "tree": key_of("t"), "size": 3}
    changes: list[dict[str, object]] = [
        {"key": "../../x"},
        {"kind": 3},
        {"made_of": []},
        {"metrics": {"a": "b"}},
        {"seconds": None},
        {"peak_memory": -1},
        {"manifests": {"code": "/etc/passwd"}},
        {"manifests": None},
        {"outputs": []},
        {"outputs": {"p": {**output, "tree": ".." * 32}}},
        {"outputs": {"p": {**output, "size": "3"}}},
        {"outputs": {"p": {**output, "more": 1}}},
        {"more": 1},
        {"created": 1e300},
        {"seconds": float("inf")},
        {"metrics": {"a": float("nan")}},
        {"made_of": {"contents": 3}},
        {"kind": "two\nlines"},
    ]
    for value in [*({**right, **change} for change in changes), {"key": record.key}, [], 3]:
        body = json.dumps(value).encode()
        head = b"2 " + model._record_digest(b"2", body)
        with pytest.raises(ValueError, match="its field"):
            unpack_record(head + b"\n" + body)
    body = b'{"made_of": ' + b"[" * 100_000
    with pytest.raises(ValueError, match="nested too deep"):
        unpack_record(b"2 " + model._record_digest(b"2", body) + b"\n" + body)
    body = canonical({**right, "outputs": {"p": output}})
    assert unpack_record(b"2 " + model._record_digest(b"2", body) + b"\n" + body) is not None
    # Another version's record is none, and no damage.
    assert unpack_record(b"3 " + model._record_digest(b"3", body) + b"\n" + body) is None
    assert unpack_record(b'{"key": "version 1"}') is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3",
        b"[3]",
        b'[{"path": "a"}]',
        b'[{"path": 1, "digest": "%s", "size": 1}]' % (b"a" * 64),
        b'[{"path": "a", "digest": "%s", "size": -1}]' % (b"a" * 64),
        b'[{"path": "a", "digest": "../%s", "size": 1}]' % (b"a" * 61),
        b"\xff",
        b"[" * 100_000,
    ],
    ids=range(9),
)
def test_bytes_that_are_no_tree(body: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_tree(body)


def test_manifests_do_not_decide_whether_a_record_is_whole(store: Store) -> None:
    record = replace(record_of("k", put(store, {"a": b"1"})), manifests={"code": "ab" * 32})
    store.put_record(record)
    assert store.record(record.key) == record


def test_a_sync_happens_only_where_there_is_something_to_make_durable(store: Store) -> None:
    store.sync()
    assert not store.root.exists()
    record = publish(store, "k", {"a": b"1"})
    assert not (store.root / "verified").exists()
    store.sync()
    first = (store.root / "verified").stat()
    assert first.st_size > 0
    store.sync()
    assert store.record(record.key)
    store.sync()
    assert (store.root / "verified").stat() == first


def test_the_list_of_verified_objects_is_written_anew_when_most_of_it_is_old(
    store: Store,
) -> None:
    publish(store, "k", {"a": b"1"})
    store.sync()
    lines = (store.root / "verified").read_text()
    (store.root / "verified").write_text(lines * 2000)
    again = Store(store.root)
    publish(again, "l", {"a": b"2"})
    again.sync()
    assert len((store.root / "verified").read_text().splitlines()) == 4
    third = Store(store.root)
    assert third.record(key_of("k"))
    assert third.record(key_of("l"))
    assert third.damages == []


def test_a_staging_folder_that_somebody_removed_is_made_again(store: Store) -> None:
    import shutil

    store.staging()
    shutil.rmtree(store.root / "tmp")
    record = publish(store, "k", {"a": b"1"})
    assert contents(store, record) == [{"a": b"1"}]


def test_a_child_process_has_a_staging_folder_of_its_own(store: Store) -> None:
    mine = store.staging()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            theirs = store.staging()
            status = 0 if theirs.parent != mine.parent and store.lock(key_of("k")) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert mine.is_dir()
    store.clean()
    assert mine.is_dir()
    assert len(list((store.root / "tmp").iterdir())) == 1


def test_the_store_is_light_to_import() -> None:
    import subprocess

    program = (
        "import sys; import edgepipe.store as s; from pathlib import Path; s.Store(Path('x'));"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & "
        "{'pydantic', 'rich', 'yaml', 'tempfile', 'shutil', 'ctypes', 'tarfile', 'concurrent'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_folders_deeper_than_a_path_may_be_long_are_removed(tmp_path: Path) -> None:
    here, handle = tmp_path / "deep", os.open(tmp_path, os.O_RDONLY)
    for number in range(1500):
        name = "deep" if not number else "n" * 8
        os.mkdir(name, dir_fd=handle)
        inner = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)
    remove(str(here))
    assert not here.exists()
