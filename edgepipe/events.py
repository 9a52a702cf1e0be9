"""What the runner tells whoever listens: boards, logs, reports. Events carry plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgepipe.results import GateResult, NodeResult, RunResult


@dataclass(frozen=True)
class RunStarted:
    """The run begins. ``nodes`` in the order of the graph, each with its kind."""

    run_id: str
    pipeline: str
    nodes: Mapping[str, str]
    jobs: int
    estimates: Mapping[str, float] = field(default_factory=dict)
    """Seconds that a node took last time, where known."""


@dataclass(frozen=True)
class NodeStarted:
    """A node was handed to a worker; ``reason`` says why it is not cached."""

    node: str
    reason: str


@dataclass(frozen=True)
class NodeWaits:
    """A node is not started though it could be; ``reason`` says for what it waits."""

    node: str
    reason: str


@dataclass(frozen=True)
class NodeRetried:
    """A node failed and will be started again: its ``attempt`` of 1 + ``retries`` is over."""

    node: str
    attempt: int
    retries: int
    message: str


@dataclass(frozen=True)
class NodeProgress:
    """How far a running node is, with numbers worth showing."""

    node: str
    done: float
    total: float
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class NodeLog:
    """A line that a running node wrote."""

    node: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class NodeFinished:
    """A node ended: it ran, was cached, failed or was skipped."""

    result: NodeResult
    log_path: str = ""
    """Absolute path of its log where it failed."""


@dataclass(frozen=True)
class GateChecked:
    """A gate was evaluated."""

    result: GateResult


@dataclass(frozen=True)
class RunFinished:
    """The run is over. ``folder`` holds run.json, the logs and the report."""

    result: RunResult
    folder: str


Event = (
    RunStarted
    | NodeStarted
    | NodeWaits
    | NodeRetried
    | NodeProgress
    | NodeLog
    | NodeFinished
    | GateChecked
    | RunFinished
)
Listener = Callable[[Event], None]
