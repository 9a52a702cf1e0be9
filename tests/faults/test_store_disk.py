"""The store on file systems that are full, or cannot be written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from storing import (
    broken_records,
    contents,
    flip,
    left_over,
    mounted,
    objects,
    publish,
    put,
    record_of,
    small,
    wrong_names,
)

from edgepipe.errors import StoreError
from edgepipe.store import Store, explained
from edgepipe.store.check import verify
from edgepipe.store.collect import collect


def fill(store: Store, done: list[int]) -> None:
    for turn in range(100):
        folder = store.staging()
        try:
            # The stage itself may meet the full disk.
            with explained(store.root):
                (folder / "a").write_bytes(bytes([turn]) * 50_000)
            with store.using():
                tree = store.put_tree(folder)
                store.put_record(record_of(turn, tree))
            done.append(turn)
        finally:
            store.discard(folder)


@pytest.mark.parametrize("limit", ["size=600k", "size=8m,nr_inodes=30"])
def test_a_disk_full_while_publishing(tmp_path: Path, limit: str) -> None:
    root = tmp_path / "store"
    with mounted(root, *small(limit)):
        store = Store(root)
        done: list[int] = []
        with pytest.raises(StoreError) as caught:
            fill(store, done)
        assert "no space left on device" in caught.value.problems[0].message
        assert "make room" in caught.value.problems[0].hint
        assert done
        store.close()
        assert left_over(root) == []
        assert wrong_names(root) == []
        assert broken_records(root) == []
        grown = "remount,size=8m,nr_inodes=1000"
        subprocess.run(["mount", "-o", grown, str(root)], check=True)
        store = Store(root)
        for turn in range(20):
            publish(store, turn, {"a": bytes([turn]) * 50_000})
        store.sync()
        assert all(store.record(record_of(turn).key) is not None for turn in range(20))
        assert store.damages == []
        store.close()


def test_a_read_only_store_is_read_and_never_written(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with mounted(root, *small("size=8m")):
        store = Store(root)
        assert store.writable
        record = publish(store, "k", {"a": b"one", "b": b"two"})
        store.sync()
        store.close()
        flip(next(path for path in objects(root) if path.read_bytes() == b"two"))
        publish(store, "whole", {"a": b"one"})
        store.close()
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        store = Store(root)
        assert not store.writable
        with store.using():
            whole = store.record(record_of("whole").key)
        assert whole is not None
        assert store.record(record.key) is None
        assert "holds other bytes" in store.damages[0].what
        assert store.damages[0].where == ""
        with store.lock("ab" * 32) or pytest.fail("nobody else can publish there"):
            pass
        run = store.root_of_run("r", tmp_path, "p")
        run.add("ab" * 32)
        run.close()
        store.clean()
        store.sync()
        store.copy(whole.outputs["port0"].tree, tmp_path / "out")
        assert (tmp_path / "out" / "a").read_bytes() == b"one"
        for action in (store.staging, lambda: put(store, {"x": b""}), lambda: collect(store)):
            with pytest.raises(StoreError, match="read-only file system"):
                action()
        found = verify(store)
        assert [finding.what for finding in found.findings] == ["damaged object"]
        assert not found.repaired
        with pytest.raises(StoreError, match="read-only file system"):
            verify(store, repair=True)


def test_new_results_over_a_read_only_store(tmp_path: Path) -> None:
    root = tmp_path / "store"
    with mounted(root, *small("size=8m")):
        below = Store(root)
        old = publish(below, "old", {"a": b"one", "deep/b": bytes(50_000)})
        below.close()
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        store = Store(tmp_path / "over", Store(root))
        assert store.writable
        assert store.record(old.key) == old
        folder = store.staging() / "in"
        store.link(old.outputs["port0"].tree, folder)
        assert (folder / "deep" / "b").read_bytes() == bytes(50_000)
        assert store.changed(old.outputs["port0"].tree, folder) == []
        (folder / "a").chmod(0o644)
        (folder / "a").write_bytes(b"two")
        assert store.changed(old.outputs["port0"].tree, folder) == ["a"]
        new = publish(store, "new", {"a": b"one", "c": b"three"})
        assert store.record(new.key) == new
        assert contents(store, new) == [{"a": b"one", "c": b"three"}]
        assert contents(store, old) == [{"a": b"one", "deep/b": bytes(50_000)}]
        store.close()
