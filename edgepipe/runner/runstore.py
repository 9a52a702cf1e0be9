"""A run's view of the store: look-ups, publications, and what it holds so that gc keeps it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepipe import temporary
from edgepipe.digest import digest_value
from edgepipe.graph import GraphNode
from edgepipe.key import Key
from edgepipe.planner import Decision, Planner
from edgepipe.planner.fitting import find
from edgepipe.runner.publishing import publish
from edgepipe.store import Damage, Record, Store
from edgepipe.store.collect import evict
from edgepipe.temporary import Temporary

if TYPE_CHECKING:
    from edgepipe.remote import Remote
    from edgepipe.runner.fetching import Fetcher

_SYNC_SECONDS = 5.0
"""How often results are made safe from a loss of power; after a node as long as this, at once."""
_TOGETHER = 50
"""Look-ups for which gc is kept away at once."""
_SLOW_SECONDS = 1.0
"""When a fetch begins to be told of."""
_UPLOAD_SECONDS = 3600.0
"""How long the end of a run waits for uploads; a remote that fails is given up much earlier."""
_TOLD_SECONDS = 10.0
"""How often to say that it does."""

Warn = Callable[[str], None]


class RunStore:
    """The local store, with the team's behind it, for one run."""

    def __init__(self, planner: Planner, remote: Remote | None, warn: Warn) -> None:
        self.planner = planner
        self.remote = remote
        self.warn = warn
        self.store: Store = planner.store
        self._temporary = Temporary()
        self._own: Path | None = None
        """A store of the run's own, where the cache cannot be written."""
        self._damages: set[Damage] = set()
        """Those that were said."""
        self._synced = time.monotonic()
        self._planned: dict[str, Decision] = {}
        self._fetcher: Fetcher | None = None
        self._awaited: dict[str, list[Decision]] = {}
        """Key that is fetched → the nodes that wait for it."""

    def open(self, run_id: str, decisions: Sequence[Decision] = ()) -> None:
        """Clear what dead runs left; say what was found damaged so far.

        Args:
            run_id: names the run.
            decisions: what was planned for its nodes.

        Raises:
            StoreError: the store cannot be used.
        """
        self._planned = {decision.node.name: decision for decision in decisions}
        if self.store.root.is_dir() and not self.store.writable:
            self._own = self._temporary.new()
            self.warn(f"{self.store.root} cannot be written: new results are not cached")
            self.store = self.planner.store = Store(self._own, base=self.store)
        for damage in self.planner.store.damages:
            self._say(damage)
        self.store.on_damage = self._say
        self.store.clean()
        temporary.clean()
        project, pipeline = self.planner.project.root, self.planner.graph.name
        self.root = self.store.root_of_run(run_id, project, pipeline)
        if self.remote is not None:
            from edgepipe.runner.fetching import Fetcher

            self.remote.on_warning(self.warn)
            self._fetcher = Fetcher(self.remote, self.store)

    def _say(self, damage: Damage) -> None:
        # A record is asked for more than once.
        if damage not in self._damages:
            self._damages.add(damage)
            self.warn(damage.said)

    def look_up(
        self, nodes: Sequence[tuple[GraphNode, Mapping[str, str]]], fresh: frozenset[str]
    ) -> list[Decision]:
        """Decide for nodes all of whose inputs are there.

        What is not here is asked of the team's store: its decision comes from `arrived`.

        Args:
            nodes: each with its inputs: port → digest of the tree.
            fresh: names of nodes that run in any case.
        """
        decisions: list[Decision] = []
        for first in range(0, len(nodes), _TOGETHER):
            with self.store.using():
                for node, inputs in nodes[first : first + _TOGETHER]:
                    decision = self._decide(node, inputs, fresh)
                    if decision.record is not None:
                        self._hold(decision.record)
                    decisions.append(decision)
        if self._fetcher is None:
            return decisions
        asked = [d for d in decisions if d.key and not d.record and d.node.name not in fresh]
        for decision in asked:
            assert decision.key is not None
            self._awaited.setdefault(decision.key.digest, []).append(decision)
        with self.store.using():
            # Before they come: gc may look between their coming and their being taken.
            self.root.add(*(decision.key.digest for decision in asked if decision.key))
        self._fetcher.ask(decision.key.digest for decision in asked if decision.key)
        names = {decision.node.name for decision in asked}
        return [decision for decision in decisions if decision.node.name not in names]

    @property
    def fetching(self) -> bool:
        """Whether something is on its way from the team's store."""
        return bool(self._awaited)

    def arrived(self, seconds: float) -> list[Decision]:
        """Decide for nodes whose fetch is over, after so long at most; without a record: they run."""
        if self._fetcher is None or not self._awaited:
            return []
        return [
            self._fetched(decision)
            for key in self._fetcher.over(seconds)
            for decision in self._awaited.pop(key, [])
        ]

    def waiting(self) -> dict[str, str]:
        """Nodes whose fetch takes long, each with how far it is."""
        if self._fetcher is None:
            return {}
        text = self._fetcher.text()
        slow = self._fetcher.slow(_SLOW_SECONDS)
        return {d.node.name: text for key in slow for d in self._awaited.get(key, [])}

    def hush(self) -> bool:
        """Let nothing begin to be moved, since a measurement is next; whether nothing is."""
        return self.remote is None or (not self.fetching and self.remote.hush())

    def resume(self) -> None:
        """Take `hush` back."""
        if self.remote is not None:
            self.remote.resume()

    def _decide(
        self, node: GraphNode, inputs: Mapping[str, str], fresh: frozenset[str]
    ) -> Decision:
        """What was planned, where that is still so; else anew."""
        planned = self._planned.get(node.name)
        if (
            planned is not None
            and planned.key is not None
            and planned.record is not None
            and not planned.remote
            and planned.key.made_of["inputs"] == inputs
            and self.store.holds(planned.record)
        ):
            return planned
        return self.planner.decide(node, inputs, node.name in fresh)

    def _fetched(self, decision: Decision) -> Decision:
        assert decision.key is not None
        record = self.record(decision.node, decision.key.digest)
        if record is None and self.remote and self.store.records.is_away(decision.key.digest):
            self.remote.distrust(decision.key.digest)
        return decision if record is None else replace(decision, record=record, reason="")

    def record(self, node: GraphNode, key: str) -> Record | None:
        """The record of a node's key, which the run then holds."""
        with self.store.using():
            record = find(self.store, node, key)
            if record is not None:
                self._hold(record)
        return record

    def _hold(self, record: Record) -> None:
        self.root.add(record.key, *(output.tree for output in record.outputs.values()))

    def publish(
        self,
        decision: Decision,
        outputs: Mapping[str, Path],
        facts: Mapping[str, float],
        *,
        kept: bool = True,
    ) -> Record:
        """Keep what a node made, and offer it to the team; see `publishing.publish`.

        Args:
            decision: of the node.
            outputs: output port → what it wrote.
            facts: of its run.
            kept: whether another run may find it; this one goes on with it in any case.
        """
        if not kept and decision.key is not None:
            nonce = digest_value("doubtful", [decision.key.digest, secrets.token_hex(16)])
            decision = replace(decision, key=Key(nonce, decision.key.made_of))
        with self.store.using():
            record = publish(self.store, decision, outputs, facts)
            self._hold(record)
        now = time.monotonic()
        if max(record.seconds, now - self._synced) > _SYNC_SECONDS:
            self.store.sync()
            self._synced = now
        if self.remote is not None and self._own is None and kept:
            self.remote.offer(record, self.store)
        return record

    def upload(self) -> Iterator[str]:
        """Wait for uploads to end; yields a text whenever that has taken long again."""
        if self.remote is None:
            return
        self.store.sync()
        deadline, pause = time.monotonic() + _UPLOAD_SECONDS, _SLOW_SECONDS
        while (left := self.remote.uploading(pause)) and time.monotonic() < deadline:
            some = "1 result goes" if left == 1 else f"{left} results go"
            yield f"{some} to {self.remote.shown}; ^C ends the run without"
            pause = _TOLD_SECONDS

    def close(self) -> None:
        """Make everything durable, and let go of what the run held; uploads are given up."""
        self.store.sync()
        if self.remote is not None:
            self.remote.flush(0.0)
            self.remote.close()
        if self._fetcher is not None:
            self._fetcher.close()
        self.root.close()
        self.store.close()
        self._temporary.close()
        if self._own is None and self.planner.project.cache_size is not None:
            evict(self.store, self.planner.project.cache_size)
