"""Whatever is done to a store, in whatever order: a look-up never gives wrong bytes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from storing import contents, flip, key_of, objects, publish, records, wrong_names

from edgepipe.errors import StoreError
from edgepipe.store import Store
from edgepipe.store.archive import export, take_in
from edgepipe.store.check import verify
from edgepipe.store.collect import collect
from edgepipe.store.roots import pin, unpin

names = st.integers(0, 5)
numbers = st.integers(0, 10**6)


def files_of(name: int) -> dict[str, bytes]:
    """What a key makes: always the same; some share content with others, some are empty."""
    return {
        "shared": b"in all",
        "half": b"%d" % (name % 2),
        "deep/own": b"%d" % name * (name * 3000),
        **({"metrics.json": b'{"n": %d}' % name} if name % 3 == 0 else {}),
    }


class Machine(RuleBasedStateMachine):
    """Two stores that exchange records, and all that may befall them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edgepipe-property-"))
        self.stores = [Store(self.folder / "a"), Store(self.folder / "b")]
        self.damaged = [False, False]
        self.pinned: set[int] = set()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        shutil.rmtree(self.folder)

    @rule(which=st.integers(0, 1), name=names)
    def make(self, which: int, name: int) -> None:
        store = self.stores[which]
        if store.record(key_of(name)) is None:
            publish(store, name, files_of(name))
        record = store.record(key_of(name))
        assert record is not None
        assert contents(store, record) == [files_of(name)]

    @rule(which=st.integers(0, 1), name=names)
    def look_up(self, which: int, name: int) -> None:
        store = self.stores[which]
        record = store.record(key_of(name))
        if record is not None:
            assert contents(store, record) == [files_of(name)]
            folder = store.staging() / "in"
            store.link(record.outputs["port0"].tree, folder)
            assert store.changed(record.outputs["port0"].tree, folder) == []
            store.discard(folder.parent)

    @rule(which=st.integers(0, 1), number=numbers, how=st.sampled_from(["flip", "cut", "unlink"]))
    def damage(self, which: int, number: int, how: str) -> None:
        root = self.stores[which].root
        there = [p for p in [*objects(root), *records(root)] if p.stat().st_size]
        if not there:
            return
        path = there[number % len(there)]
        self.damaged[which] = True
        if how == "flip":
            flip(path, number)
        elif how == "cut":
            os.truncate(path, number % path.stat().st_size)
        else:
            path.unlink()

    @rule(which=st.integers(0, 1), number=numbers)
    def write_through_a_link(self, which: int, number: int) -> None:
        store = self.stores[which]
        record = store.record(key_of(number % 6))
        if record is not None:
            folder = store.staging() / "in"
            store.link(record.outputs["port0"].tree, folder)
            (folder / "shared").chmod(0o644)
            (folder / "shared").write_bytes(b"IN ALL")
            self.damaged[which] = True
            assert store.changed(record.outputs["port0"].tree, folder) == ["shared"]
            store.discard(folder.parent)

    @rule(which=st.integers(0, 1), cap=st.sampled_from([None, 0, 20_000]))
    def gc(self, which: int, cap: int | None) -> None:
        collect(self.stores[which], max_size=cap)
        if which == 0 and not self.damaged[0]:
            assert all(self.stores[0].record(key_of(name)) for name in self.pinned)

    @rule(name=names)
    def pin(self, name: int) -> None:
        if self.stores[0].record(key_of(name)) is not None:
            pin(self.stores[0], key_of(name), str(name))
            self.pinned.add(name)

    @rule(name=names)
    def unpin(self, name: int) -> None:
        unpin(self.stores[0], key_of(name))
        self.pinned.discard(name)

    @rule(which=st.integers(0, 1), name=names)
    def carry(self, which: int, name: int) -> None:
        source, target = self.stores[which], self.stores[1 - which]
        tar = self.folder / "x.tar"
        try:
            export(source, tar, [key_of(name)])
        except StoreError:
            return
        take_in(target, tar)
        record = target.record(key_of(name))
        assert record is not None
        assert contents(target, record) == [files_of(name)]

    @rule(which=st.integers(0, 1))
    def repair(self, which: int) -> None:
        store = self.stores[which]
        found = verify(store, repair=True)
        assert found.repaired
        assert verify(store).findings == []
        assert wrong_names(store.root) == []
        if not self.damaged[which]:
            assert found.findings == []
        self.damaged[which] = False
        store.damages.clear()
        if which == 0:
            self.pinned = {n for n in self.pinned if store.record(key_of(n)) is not None}

    @rule(which=st.integers(0, 1), saved=st.booleans())
    def open_anew(self, which: int, saved: bool) -> None:
        if saved:
            self.stores[which].sync()
        self.stores[which].close()
        self.stores[which] = Store(self.stores[which].root)

    @rule(which=st.integers(0, 1), body=st.binary(max_size=200))
    def garbage(self, which: int, body: bytes) -> None:
        store = self.stores[which]
        if store.root.is_dir():
            (store.root / "verified").write_bytes(body)

    @invariant()
    def nothing_is_wrong_but_what_was_damaged(self) -> None:
        for store, damaged in zip(self.stores, self.damaged, strict=True):
            if not damaged:
                assert store.damages == [] or all(d.digest == "" for d in store.damages)


Machine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestStore = Machine.TestCase
