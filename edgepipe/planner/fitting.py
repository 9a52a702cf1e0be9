"""Whether a record can be a node's result: its key says so, and what it holds has to agree."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from edgepipe.errors import StageError, StoreError
from edgepipe.graph import GraphNode
from edgepipe.stage import Metrics
from edgepipe.store import Damage, Record, Store


def fits(record: Record, node: GraphNode) -> bool:
    """Whether a record has the outputs that the node's stage declares."""
    return record.outputs.keys() == node.stage.outputs.keys()


def find(store: Store, node: GraphNode, key: str) -> Record | None:
    """The record of a node's key, if there is one that can be the node's result.

    One that cannot was damaged or forged: it is put away, and told to the store's `on_damage`.

    Raises:
        StoreError: the store cannot be read.
    """
    record = store.record(key)
    if record is None or not (reason := _misfit(store, node, record)):
        return record
    where = os.fspath(store.record_path(key))
    # A cache that is read-only, or somebody else's, keeps it.
    with contextlib.suppress(OSError):
        if store.records.put_away(key):
            where = store.records.place_away(key)
    store.on_damage(
        Damage(key, f"the result {key[:12]} of {node.name} is damaged: {reason}", where)
    )
    return None


def _misfit(store: Store, node: GraphNode, record: Record) -> str:
    """Why a record cannot be the node's result; empty if it can."""
    if not fits(record, node):
        return f"it does not have the outputs of {node.kind.name}"
    try:
        for port, type_ in node.stage.outputs.items():
            if issubclass(type_, Metrics):
                metrics_of(store, record.outputs[port].tree)
    except StoreError as error:
        return error.problems[0].message
    return ""


def metrics_of(store: Store, tree: str) -> dict[str, Any]:
    """What a Metrics artifact in the store holds.

    Raises:
        StoreError: it is missing or damaged, or holds no metrics.
    """
    found = [file.digest for file in store.tree(tree).files if file.path == Metrics.payload]
    if not found:
        raise StoreError(f"the object {tree[:12]} holds no metrics")
    try:
        return Metrics.checked(store.get_json(found[0]))
    except StageError as error:
        problem = error.problems[0].message
        raise StoreError(f"the object {tree[:12]} holds no metrics: {problem}") from error
