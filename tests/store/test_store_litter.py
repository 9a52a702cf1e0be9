"""Litter in the store: what dead processes left goes, what may be gone on with stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

from store_runs import body
from storing import key_of, left_over, publish

from edgepipe.store import Store
from edgepipe.store.collect import collect


def test_what_bears_no_name_of_ours_is_not_touched(store: Store) -> None:
    publish(store, "a", {"f": b"x"})
    files = [
        store.root / folder / name
        for folder in ("tmp", "scratch", "locks", "objects/ab")
        for name in ("thesis.doc", "123", "123-dead", "2026-results/table")
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("years of work")
        os.utime(path, (0, 0))
    files += [store.root / "roots" / name for name in ("ginseng", "r.json")]
    for path in files[-2:]:
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work" if path.suffix == "" else '{"a": 1}')
    outside = store.root.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("years of work")
    (store.root / "tmp" / "12-0123456789ab").symlink_to(outside)
    store.clean()
    collect(store)
    assert [path.read_text() for path in files[:-1]] == ["years of work"] * (len(files) - 1)
    assert files[-1].read_text() == '{"a": 1}'
    assert (outside / "kept").exists()


def test_litter_of_the_dead_goes_and_that_of_the_living_stays(store: Store) -> None:
    mine = store.staging()
    (mine / "file").write_bytes(b"x")
    dead = store.root / "tmp" / "123-00000000dead"
    (dead / "0" / "deep").mkdir(parents=True)
    (dead / "0" / "deep" / "file").write_bytes(bytes(500))
    (store.root / "tmp" / "124-00000000dead").write_bytes(bytes(500))
    os.mkfifo(store.root / "tmp" / "125-00000000dead")
    (store.root / "locks").mkdir()
    (store.root / "locks" / key_of("old")).touch()
    held = store.lock(key_of("held"))
    assert held is not None
    planned = collect(store, dry_run=True)
    assert dead.exists()
    found = collect(store)
    assert (found.litter, found.locks) == (planned.litter, planned.locks) == (3, 1)
    assert found.litter_bytes == 1000
    assert (mine / "file").read_bytes() == b"x"
    assert [path.name for path in left_over(store.root)] == [mine.parent.name, key_of("held")]
    held.release()
    store.discard(mine)
    store.close()
    assert left_over(store.root) == []


def test_scratch_folders_stay_as_long_as_they_can_be_gone_on_with(store: Store) -> None:
    publish(store, "done", body(1))
    for name in ("done", "going", "killed", "old", "empty"):
        store.scratch(key_of(name)).mkdir(parents=True)
        (store.scratch(key_of(name)) / "checkpoint").write_bytes(b"half way")
    (store.scratch(key_of("empty")) / "checkpoint").unlink()
    for name in ("going", "killed"):
        (store.scratch(key_of(name)) / "checkpoint.partial").write_bytes(b"x")
    old = store.scratch(key_of("old")) / "checkpoint"
    os.utime(old, (time.time() - 15 * 86400,) * 2)
    lock = store.lock(key_of("going"))
    assert lock is not None
    store.clean()
    files = {path.parent.name: set() for path in (store.root / "scratch").rglob("*")}
    for path in (store.root / "scratch").rglob("checkpoint*"):
        files[path.parent.name].add(path.name)
    files.pop("scratch", None)
    assert files == {
        key_of("going"): {"checkpoint", "checkpoint.partial"},
        key_of("killed"): {"checkpoint"},
        key_of("old"): {"checkpoint"},
    }
    collect(store)
    assert {path.name for path in (store.root / "scratch").iterdir()} == {
        key_of("going"),
        key_of("killed"),
    }
    lock.release()


def test_nothing_is_cleared_where_a_scratch_folder_that_became_a_link_leads(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "big.partial").touch()
    (store.root / "scratch").mkdir(parents=True)
    (store.root / "scratch" / key_of("a")).symlink_to(tmp_path / "mine")
    store.clean()
    assert (tmp_path / "mine" / "big.partial").exists()
    assert list((store.root / "scratch").iterdir()) == []
