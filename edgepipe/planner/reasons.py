"""Why a node runs: what is not as it was when it ran last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepipe import explain
from edgepipe.digest import digest_value
from edgepipe.explain import Change
from edgepipe.graph import GraphNode
from edgepipe.planner import manifests
from edgepipe.planner.lastkeys import LastKeys
from edgepipe.store import Record, Store


class Reasons:
    """Compares nodes with their last runs."""

    def __init__(self, last: LastKeys) -> None:
        self._last = last
        self._manifests: dict[str, explain.Manifest] = {}
        self._damaged: set[str] = set()
        """Nodes whose last result was put away."""

    def previous(self, name: str, store: Store) -> Record | None:
        """The record of a node's last run, if it is still there, or was put away."""
        key = self._last.get(name)
        if key is None:
            return None
        record = store.record(key, whole=False)
        if record is None and store.records.is_away(key):
            self._damaged.add(name)
            record = store.records.peek_away(key)
        return record

    def changes(
        self,
        node: GraphNode,
        previous: Record,
        made_of: Mapping[str, Any],
        manifests_now: Mapping[str, explain.Manifest],
        store: Store,
    ) -> tuple[Change, ...]:
        """What is not as it was.

        Args:
            node: the node.
            previous: of its last run.
            made_of: what its key is made of now.
            manifests_now: the manifests of its code and of the contents that it reads, by name.
            store: holds the manifests of the last run.
        """

        def read(name: str) -> tuple[explain.Manifest, explain.Manifest]:
            return self._manifest(previous.manifests.get(name), store), manifests_now.get(name)

        sources = {port: source.node for port, source in node.inputs.items()}
        return tuple(explain.changes(node.name, previous.made_of, made_of, read, sources))

    def text(
        self,
        node: GraphNode,
        changes: tuple[Change, ...],
        causes: tuple[str, ...],
        previous: Record | None,
    ) -> str:
        """Why a node runs, in one line.

        Args:
            node: the node.
            changes: what is not as it was.
            causes: the nodes among its inputs that run.
            previous: the record of its last run.
        """
        texts = [change.text for change in changes]
        if causes:
            texts.insert(explain.MOST - 1, _waits(causes))
        if texts:
            more = f"; {len(texts) - explain.MOST} more" if len(texts) > explain.MOST else ""
            return "; ".join(texts[: explain.MOST]) + more
        if node.name in self._damaged:
            return "it ran, and its result was damaged: it was put away"
        if previous is not None and digest_value("key", previous.made_of) != previous.key:
            return "what its code may read changed while it ran last"
        if previous is not None:
            return "its result is no longer in the cache"
        known = self._last.get(node.name) is not None
        return "its last result is no longer in the cache" if known else "never run"

    def _manifest(self, digest: str | None, store: Store) -> explain.Manifest:
        if digest is not None and digest not in self._manifests:
            self._manifests[digest] = manifests.read(store, digest)
        return self._manifests.get(digest) if digest else None


def _waits(causes: tuple[str, ...]) -> str:
    if len(causes) == 1:
        return f"its input {causes[0]} runs"
    return f"its inputs {explain.few(causes)} run"
