"""Roots of the store: which runs and pins hold their records, and until when."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_runs import body, run, there
from storing import contents, key_of, objects, publish

from edgepipe.errors import ConfigError
from edgepipe.store import Store
from edgepipe.store.collect import collect
from edgepipe.store.roots import all_roots, drop_old, pin, pins, unpin


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
