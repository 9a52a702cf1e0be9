"""A run's view of the store: look-ups, publications, and what it holds so that gc keeps it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepipe.graph import GraphNode
from edgepipe.planner import Decision, Planner
from edgepipe.publishing import publish
from edgepipe.store import Damage, Record, Store
from edgepipe.store.collect import evict

if TYPE_CHECKING:
    from edgepipe.remote import Remote

_SYNC_SECONDS = 5.0
"""How often results are made safe from a loss of power; after a node as long as this, at once."""
_FLUSH_SECONDS = 3600.0
"""How long the end of a run waits for uploads; a remote that fails is given up much earlier."""

Warn = Callable[[str], None]


class RunStore:
    """The local store, with the team's behind it, for one run."""

    def __init__(self, planner: Planner, remote: Remote | None, warn: Warn) -> None:
        self.planner = planner
        self.remote = remote
        self.warn = warn
        self.store: Store = planner.store
        self._own: Path | None = None
        """A store of the run's own, where the cache cannot be written."""
        self._synced = time.monotonic()

    def open(self, run_id: str) -> None:
        """Clear what dead runs left; say what was found damaged so far.

        Raises:
            StoreError: the store cannot be used.
        """
        if self.store.root.is_dir() and not self.store.writable:
            self._own = Path(tempfile.mkdtemp(prefix="edgepipe-"))
            self.warn(f"{self.store.root} cannot be written: new results are not cached")
            self.store = self.planner.store = Store(self._own, base=self.store)
        for damage in self.planner.store.damages:
            self._say(damage)
        self.store.on_damage = self._say
        self.store.clean()
        project, pipeline = self.planner.project.root, self.planner.graph.name
        self.root = self.store.root_of_run(run_id, project, pipeline)
        if self.remote is not None:
            self.remote.on_warning(self.warn)

    def _say(self, damage: Damage) -> None:
        kept = f"; it is kept in {damage.where}" if damage.where else ""
        self.warn(damage.what + kept)

    def look_up(
        self, nodes: Sequence[tuple[GraphNode, Mapping[str, str]]], fresh: frozenset[str]
    ) -> list[Decision]:
        """Decide for nodes all of whose inputs are there, and fetch what only the team has.

        Args:
            nodes: each with its inputs: port → digest of the tree.
            fresh: names of nodes that run in any case.
        """
        decisions = []
        for node, inputs in nodes:
            with self.store.using():
                decision = self.planner.decide(node, inputs, node.name in fresh)
                if decision.record is not None:
                    self.root.add(decision.record.key)
            decisions.append(decision)
        if self.remote is None:
            return decisions
        wanted = [
            d.key.digest
            for d in decisions
            if d.key is not None and d.record is None and d.node.name not in fresh
        ]
        if wanted:
            came = self.remote.fetch_many(dict.fromkeys(wanted), self.store)
            decisions = [
                self._fetched(d) if d.key and d.key.digest in came else d for d in decisions
            ]
        return decisions

    def _fetched(self, decision: Decision) -> Decision:
        assert decision.key is not None
        record = self.record(decision.key.digest)
        return decision if record is None else replace(decision, record=record, reason="")

    def record(self, key: str) -> Record | None:
        """The record of a key, which the run then holds."""
        with self.store.using():
            record = self.store.record(key)
            if record is not None:
                self.root.add(key)
        return record

    def publish(
        self, decision: Decision, outputs: Mapping[str, Path], facts: Mapping[str, float]
    ) -> Record:
        """Keep what a node made, and offer it to the team; see `publishing.publish`."""
        with self.store.using():
            record = publish(self.store, decision, outputs, facts)
            self.root.add(record.key)
        now = time.monotonic()
        if max(record.seconds, now - self._synced) > _SYNC_SECONDS:
            self.store.sync()
            self._synced = now
        if self.remote is not None and self._own is None:
            self.remote.offer(record, self.store)
        return record

    def close(self, *, wait: bool) -> None:
        """Make everything durable, and let go of what the run held.

        Args:
            wait: for uploads to end.
        """
        self.store.sync()
        if self.remote is not None:
            self.remote.flush(_FLUSH_SECONDS if wait else 0.0)
            self.remote.close()
        self.root.close()
        self.store.close()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
        elif self.planner.project.cache_size is not None:
            evict(self.store, self.planner.project.cache_size)
