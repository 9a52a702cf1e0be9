"""Takes what a node wrote into the store as a record, and tells what a record holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from edgepipe.errors import Problem
from edgepipe.graph import GraphNode
from edgepipe.planner import Decision, manifests
from edgepipe.planner.fitting import metrics_of
from edgepipe.results import NodeResult, OutputResult
from edgepipe.stage import Artifact, Metrics
from edgepipe.store import Output, Record, Store, Tree


def publish(
    store: Store, decision: Decision, folders: Mapping[str, Path], facts: Mapping[str, float]
) -> Record:
    """Move a node's outputs into the store and write its record, last.

    Args:
        store: where to.
        decision: of the node.
        folders: output port → what the node wrote for it.
        facts: ``seconds``, ``cpu_seconds`` and ``peak_memory`` of the run.

    Raises:
        StoreError: the disk is full, or an output holds something else than regular files.
        StageError: metrics cannot be read.
    """
    node, key = decision.node, decision.key
    assert key is not None
    outputs: dict[str, Output] = {}
    metrics: dict[str, float] = {}
    for port, type_ in node.stage.outputs.items():
        if issubclass(type_, Metrics):
            metrics |= type_.numbers(folders[port])
        tree = store.put_tree(folders[port])
        outputs[port] = Output(type_.__name__, tree.digest, _size(type_, tree))
    record = Record(
        key=key.digest,
        kind=node.kind.name,
        made_of=key.made_of,
        outputs=outputs,
        metrics=metrics,
        seconds=facts["seconds"],
        cpu_seconds=facts["cpu_seconds"],
        peak_memory=int(facts["peak_memory"]),
        created=time.time(),
        manifests=manifests.publish(store, decision.manifests),
    )
    store.put_record(record)
    return record


def _size(type_: type[Artifact], tree: Tree) -> int:
    payload = (file.size for file in tree.files if file.path == type_.payload)
    return next(payload, tree.size)


def undeclared(node: GraphNode, record: Record) -> list[str]:
    """Metrics that the node wrote and its stage does not declare: no gate can name them."""
    return [name for name in record.metrics if name not in node.stage.metrics]


def result_of(store: Store, decision: Decision, record: Record, log: str) -> NodeResult:
    """A node's part of the run's results.

    Args:
        store: holds the record's objects.
        decision: of the node.
        record: its outputs.
        log: where the log of the run that made them is, relative to the run's folder; empty if
            they were cached.

    Raises:
        StoreError: an object is missing or damaged.
    """
    node = decision.node
    units = {name: metric.unit for name, metric in node.stage.metrics.items()}
    return NodeResult(
        name=node.name,
        kind=node.kind.name,
        status="ran" if log else "cached",
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        peak_memory=record.peak_memory,
        key=record.key,
        reason=decision.reason if log else "",
        params=decision.resolved.for_key,
        inputs={port: str(source) for port, source in node.inputs.items()},
        outputs={port: OutputResult(o.type, o.tree, o.size) for port, o in record.outputs.items()},
        metrics=record.metrics,
        units={name: units.get(name, "number") for name in record.metrics},
        details=_details(store, node, record),
        log=log,
    )


def failure_of(decision: Decision, problem: Problem, seconds: float, log: str) -> NodeResult:
    """A failed node's part of the run's results.

    Args:
        decision: of the node.
        problem: why it failed.
        seconds: how long it took.
        log: where its log is, relative to the run's folder; empty if it did not begin.
    """
    node = decision.node
    return NodeResult(
        name=node.name,
        kind=node.kind.name,
        status="failed",
        seconds=seconds,
        reason=decision.reason,
        params=decision.resolved.for_key,
        inputs={port: str(source) for port, source in node.inputs.items()},
        error=f"{problem.message}\n{problem.hint}" if problem.hint else problem.message,
        log=log,
    )


def _details(store: Store, node: GraphNode, record: Record) -> dict[str, object]:
    """What the Metrics outputs hold beside numbers."""
    details: dict[str, object] = {}
    for port, type_ in node.stage.outputs.items():
        if issubclass(type_, Metrics):
            value = metrics_of(store, record.outputs[port].tree)
            deep = {k: v for k, v in value.items() if isinstance(v, dict | list | str)}
            if deep:
                details[port] = deep
    return details
