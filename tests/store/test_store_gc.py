"""gc: what a root holds stays, with all that it needs; the rest goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_runs import body, run, there
from storing import broken_records, contents, key_of, objects, publish, put, record_of, records

from edgepipe.digest import canonical
from edgepipe.store import Store
from edgepipe.store.collect import collect


def test_what_no_root_holds_goes(store: Store, tmp_path: Path) -> None:
    kept = publish(store, "kept", body(1))
    for name in ("a", "b"):
        publish(store, name, body(2))
    run(store, tmp_path, "r1", kept.key)
    planned = collect(store, dry_run=True)
    assert len(there(store)) == 3
    found = collect(store)
    assert vars(found) == vars(planned)
    assert there(store) == {kept.key}
    assert set(found.records) == {key_of("a"), key_of("b")}
    assert (found.objects, found.kept_records, found.held) == (2, 1, 1)
    assert found.freed >= 1000
    assert len(objects(store.root)) == 2
    assert contents(store, kept) == [body(1)]


def test_an_object_that_two_records_share_stays_for_the_one(store: Store, tmp_path: Path) -> None:
    kept = publish(store, "kept", {"same": b"same", "mine": b"1"})
    publish(store, "other", {"same": b"same", "theirs": b"2"})
    run(store, tmp_path, "r1", kept.key)
    collect(store)
    assert contents(store, kept) == [{"same": b"same", "mine": b"1"}]
    assert len(objects(store.root)) == 3


def test_manifests_stay_with_their_record(store: Store, tmp_path: Path) -> None:
    from dataclasses import replace

    manifest = store.put_bytes(canonical({"samples": {"a.png": "digest"}}))
    lone = store.put_bytes(canonical([1, 2]))
    record = replace(record_of("k", put(store, body(1))), manifests={"contents.path": manifest})
    store.put_record(record)
    run(store, tmp_path, "r1", record.key)
    collect(store)
    assert store.record(record.key) == record
    assert store.get_json(manifest) == {"samples": {"a.png": "digest"}}
    assert not store.object_path(lone).exists()


def test_records_that_cannot_be_read_go(store: Store, tmp_path: Path) -> None:
    publish(store, "a", body(1))
    run(store, tmp_path, "r1", key_of("a"))
    path = records(store.root)[0]
    path.chmod(0o644)
    path.write_bytes(b"{}")
    found = collect(store)
    assert found.records == [key_of("a")]
    assert objects(store.root) == []


def test_who_uses_the_store_cannot_clear_it_but_others_wait(store: Store) -> None:
    import threading

    publish(store, "a", body(1))
    done = threading.Event()

    def gc() -> None:
        collect(Store(store.root))
        done.set()

    thread = threading.Thread(target=gc)
    with store.using():
        with store.using(), pytest.raises(RuntimeError):
            collect(store)
        thread.start()
        assert not done.wait(0.3)
        assert there(store) == {key_of("a")}
    thread.join(20)
    assert done.is_set()
    assert there(store) == set()
    assert broken_records(store.root) == []
