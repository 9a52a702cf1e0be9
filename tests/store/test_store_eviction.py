"""The store's size cap: what was used least recently goes first, and no more than needed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_runs import body, run, there, used
from storing import key_of, publish, put

from edgepipe.store import Store, files
from edgepipe.store.collect import collect, evict


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
