"""gc: what roots hold stays, the rest goes; the size cap; litter."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from storing import (
    broken_records,
    contents,
    key_of,
    left_over,
    objects,
    publish,
    put,
    record_of,
    records,
)

from edgepipe.digest import canonical
from edgepipe.errors import ConfigError
from edgepipe.store import Store, files
from edgepipe.store.collect import collect, evict
from edgepipe.store.roots import all_roots, drop_old, pin, pins, unpin


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def body(number: int, size: int = 1000) -> dict[str, bytes]:
    return {"a": bytes([number]) * size}


def run(store: Store, project: Path, name: str, *keys: str, pipeline: str = "p") -> None:
    root = store.root_of_run(name, project, pipeline)
    root.add(*keys)
    root.close()
    (project / ".edgepipe" / "runs" / name).mkdir(parents=True, exist_ok=True)


def used(store: Store, name: object, days_ago: float) -> None:
    key = key_of(name)
    moment = time.time() - days_ago * 86400
    os.utime(store.root / "records" / key[:2] / key[2:], (moment, moment))


def there(store: Store) -> set[str]:
    return set(store.records.keys())


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


def test_the_last_runs_of_each_pipeline_and_project_hold(store: Store, tmp_path: Path) -> None:
    for project in ("one", "two"):
        for pipeline in ("p", "q"):
            for number in range(4):
                name = f"{project}-{pipeline}-{number}"
                publish(store, name, body(number))
                run(store, tmp_path / project, name, key_of(name), pipeline=pipeline)
    found = collect(store, keep_runs=2)
    assert found.roots == 8
    assert there(store) == {
        key_of(f"{project}-{pipeline}-{number}")
        for project in ("one", "two")
        for pipeline in ("p", "q")
        for number in (2, 3)
    }


def test_a_run_that_was_removed_holds_nothing(store: Store, tmp_path: Path) -> None:
    publish(store, "a", body(1))
    run(store, tmp_path, "r1", key_of("a"))
    (tmp_path / ".edgepipe" / "runs" / "r1").rmdir()
    collect(store)
    assert there(store) == set()
    assert list(all_roots(store)) == []


def test_a_live_run_holds_from_its_first_key_on(store: Store, tmp_path: Path) -> None:
    publish(store, "a", body(1))
    publish(store, "b", body(2))
    root = store.root_of_run("live", tmp_path, "p")
    root.add(key_of("a"))
    # Its folder is not there yet, and no runs are to be kept: it is alive.
    collect(Store(store.root), keep_runs=0)
    assert there(store) == {key_of("a")}
    root.close()
    collect(Store(store.root), keep_runs=0)
    assert there(store) == set()


@pytest.mark.parametrize("max_size", [None, 0])
def test_a_run_holds_what_it_found_though_its_record_was_made_anew(
    store: Store, tmp_path: Path, max_size: int | None
) -> None:
    old = publish(store, "a", body(1))
    run(store, tmp_path, "r1", old.key, old.outputs["port0"].tree)
    new = publish(store, "a", body(2))
    publish(store, "b", body(3))
    assert len(collect(store, max_size=max_size).records) == 1
    assert contents(store, old) == [body(1)]
    assert contents(store, new) == [body(2)]
    assert len(objects(store.root)) == 4


@pytest.mark.parametrize("body_", [b"", b"{", b"[1]\n", b"\xff\n", b'{"run": 3}\nnokey\n'])
def test_a_root_that_cannot_be_read_holds_nothing(store: Store, body_: bytes) -> None:
    publish(store, "a", body(1))
    (store.root / "roots").mkdir()
    (store.root / "roots" / "r1").write_bytes(body_)
    collect(store)
    assert there(store) == set()


def test_pins_hold_for_good(store: Store) -> None:
    for name in ("a", "b"):
        publish(store, name, body(1))
    pin(store, key_of("a"), "a")
    assert pins(store) == {key_of("a"): "a"}
    collect(store, keep_runs=0, max_size=0)
    assert there(store) == {key_of("a")}
    assert unpin(store, key_of("a"))
    assert not unpin(store, key_of("a"))
    collect(store)
    assert there(store) == set()
    with pytest.raises(ConfigError, match="no record has the key"):
        pin(store, key_of("a"), "a")


def test_a_size_cap_takes_the_least_recently_used_and_only_as_many_as_needed(
    store: Store, tmp_path: Path
) -> None:
    for number in range(6):
        publish(store, number, body(number, 10_000))
        used(store, number, days_ago=10 - number)
    run(store, tmp_path, "r1", key_of(0))
    # A look-up counts as a use.
    assert store.record(key_of(1)) is not None
    found = collect(store, max_size=45_000)
    assert found.records == [key_of(2), key_of(3)]
    assert found.kept <= 45_000
    assert there(store) == {key_of(number) for number in (0, 1, 4, 5)}
    assert evict(store, 45_000) is None
    evicted = evict(store, 25_000)
    assert evicted is not None
    assert there(store) == {key_of(0), key_of(1)}
    # What is held stays, even beyond the cap.
    held = evict(store, 5_000)
    assert held is not None
    assert there(store) == {key_of(0)}
    assert held.kept > 5_000


def test_an_eviction_beside_another_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        publish(store, number, body(number))
    listed = files.shards

    def shards(table: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        for name, entry in listed(table):
            Path(entry.path).unlink()
            yield name, entry

    with monkeypatch.context() as patch:
        patch.setattr(files, "shards", shards)
        assert evict(store, 100) is None


def test_objects_that_no_record_needs_go_before_any_record(store: Store) -> None:
    publish(store, "a", body(1, 10_000))
    put(store, body(2, 10_000))
    found = collect(store, max_size=15_000)
    assert found.records == []
    assert there(store) == {key_of("a")}
    assert found.freed > 10_000


def test_a_look_up_sets_the_time_of_use_once_an_hour(store: Store) -> None:
    publish(store, "a", body(1))
    used(store, "a", days_ago=0.01)
    before = store.records.used(key_of("a"))
    store.record(key_of("a"))
    assert store.records.used(key_of("a")) == before
    used(store, "a", days_ago=-3)
    store.record(key_of("a"))
    assert abs(store.records.used(key_of("a")) - time.time()) < 60
    used(store, "a", days_ago=2)
    store.records.peek(key_of("a"))
    assert time.time() - store.records.used(key_of("a")) > 86400
    assert store.records.used(key_of("absent")) == 0.0


def test_records_that_cannot_be_read_go(store: Store, tmp_path: Path) -> None:
    publish(store, "a", body(1))
    run(store, tmp_path, "r1", key_of("a"))
    path = records(store.root)[0]
    path.chmod(0o644)
    path.write_bytes(b"{}")
    found = collect(store)
    assert found.records == [key_of("a")]
    assert objects(store.root) == []


def test_litter_of_the_dead_goes_and_that_of_the_living_stays(store: Store) -> None:
    mine = store.staging()
    (mine / "file").write_bytes(b"x")
    dead = store.root / "tmp" / "123-dead"
    (dead / "0" / "deep").mkdir(parents=True)
    (dead / "0" / "deep" / "file").write_bytes(bytes(500))
    (store.root / "tmp" / "stray").write_bytes(bytes(500))
    os.mkfifo(store.root / "tmp" / "pipe")
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


def test_old_roots_do_not_pile_up(store: Store, tmp_path: Path) -> None:
    for number in range(30):
        run(store, tmp_path, f"r{number:02}", key_of(number))
    drop_old(store, many=31)
    assert len(list(all_roots(store))) == 30
    drop_old(store, many=30)
    assert [root.run for root in all_roots(store)] == [f"r{n}" for n in range(25, 30)]


def test_runs_of_two_projects_may_have_one_name(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        publish(store, name, body(1))
        run(store, tmp_path / name, "same", key_of(name))
    collect(store)
    assert there(store) == {key_of("a"), key_of("b")}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "pins", ".hidden"])
def test_a_runs_id_is_a_files_name(store: Store, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a run's id"):
        store.root_of_run(name, tmp_path, "p")


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
