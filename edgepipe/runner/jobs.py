"""A node's workplace while it runs: its inputs laid out, folders for its outputs, its job."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgepipe.digest import digest_bytes
from edgepipe.errors import ConfigError, Problem
from edgepipe.executor import Job
from edgepipe.machine import Machine
from edgepipe.planner import Decision, Planner
from edgepipe.runner import edits
from edgepipe.store import Lock, Store

_LOG_NAME = 200
"""Signs of a log's name before it is cut: with a digest and an end they fit into 255 bytes."""


@dataclass
class Workplace:
    """What a running node has of the store, until `clear`."""

    store: Store
    decision: Decision
    inputs: Mapping[str, str]
    """Input port → digest of the tree that is laid out for it."""
    staging: Path
    lock: Lock
    watched: Mapping[str, Any]
    """See `edgepipe.watch.Watch`."""
    attempt: int
    vouched: frozenset[str] = frozenset()
    """Files of code that the node says may be edited from now on."""
    started: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """Digest of the node's key."""
        assert self.decision.key is not None
        return self.decision.key.digest

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def input(self, port: str) -> Path:
        """The folder that the node reads an input from."""
        return self.staging / f"in.{port}"

    @cached_property
    def outputs(self) -> dict[str, Path]:
        """The folders that the node writes its outputs into, by port."""
        return {port: self.staging / f"out.{port}" for port in self.decision.node.stage.outputs}

    @property
    def scratch(self) -> Path:
        """The folder that survives a kill; made when the stage first asks for it."""
        return self.store.scratch(self.key)

    def spoiled(self) -> list[str]:
        """Inputs that the node wrote to, as PORT/FILE."""
        return [
            f"{port}/{file}"
            for port, tree in self.inputs.items()
            for file in self.store.changed(tree, self.input(port))
        ]

    def clear(self, *, forget: bool) -> None:
        """Remove the staging folder; free the key.

        Args:
            forget: whether nobody goes on from the checkpoints.
        """
        self.store.discard(self.staging)
        if forget and self.scratch.is_dir():
            shutil.rmtree(self.scratch, ignore_errors=True)
        self.lock.release()


def lay_out(
    planner: Planner,
    store: Store,
    decision: Decision,
    inputs: Mapping[str, str],
    lock: Lock,
    attempt: int,
) -> Workplace:
    """Prepare a node's workplace.

    Args:
        planner: decided on it.
        store: holds the inputs.
        decision: of the node.
        inputs: input port → digest of the tree to read.
        lock: of its key.
        attempt: from 1.

    Raises:
        StoreError: the disk is full, or an input is not in the store any more.
    """
    assert decision.key is not None
    watched = edits.watched(planner, decision)
    outputs = [f"out.{port}" for port in decision.node.stage.outputs]
    staging = store.staging(*outputs, *(f"in.{port}" for port in inputs))
    try:
        place = Workplace(store, decision, inputs, staging, lock, watched, attempt)
        for port, tree in inputs.items():
            store.link(tree, place.input(port))
    except BaseException:
        store.discard(staging)
        raise
    return place


def job_of(
    place: Workplace, planner: Planner, log: Path, threads: int, gpus: tuple[int, ...]
) -> Job:
    """The node as plain data, for an executor."""
    node = place.decision.node
    kind = node.kind
    return Job(
        node=node.name,
        module=kind.module,
        path=str(kind.path),
        root=str(kind.root),
        plugin=kind.plugin,
        params=place.decision.resolved.for_worker,
        secrets=list(place.decision.resolved.secrets),
        inputs={port: str(place.input(port)) for port in node.inputs},
        outputs={port: str(path) for port, path in place.outputs.items()},
        seed=node.seed,
        threads=threads,
        gpus=",".join(map(str, gpus)),
        scratch=str(place.scratch),
        project=str(planner.project.root),
        plugins=[str(folder) for folder in planner.project.plugins],
        log=str(log),
        timeout=node.timeout,
        interpreter=planner.interpreter(node),
        watched=place.watched,
        spare=str(place.staging / "scratch"),
    )


def check_gpus(decisions: Iterable[Decision], machine: Machine) -> None:
    """Raise ConfigError where a node that has to run needs more GPUs than there are."""
    problems = [
        Problem(
            f"'{d.node.name}' needs {d.node.gpus} GPUs, and there are {machine.gpus}",
            "lower gpus:, or run it where there are as many",
            d.node.place,
        )
        for d in decisions
        if d.record is None and d.node.gpus > machine.gpus
    ]
    if problems:
        raise ConfigError(problems)


def log_name(node: str) -> str:
    """The file name of a node's log: a node's name has no dot, so no two nodes share one.

    What is longer than a file name may be ends with a digest of the whole.
    """
    family, bracket, point = node.partition("[")
    name = f"{family}{bracket and '.'}{quote(point.rstrip(']'), safe=' ,=+@')}"
    if len(name) > _LOG_NAME:
        name = f"{name[:_LOG_NAME]}.{digest_bytes('log', node.encode())[:12]}"
    return f"{name}.log"
