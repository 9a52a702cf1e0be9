"""What a run came to: the record that `show`, the reports and ``--json`` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

NodeStatus = Literal["ran", "cached", "failed", "skipped"]
RunStatus = Literal["done", "failed", "gate failed", "interrupted"]


@dataclass(frozen=True)
class OutputResult:
    """One output: its artifact type's name, tree digest and size in bytes."""

    type: str
    digest: str
    size: int


@dataclass(frozen=True)
class NodeResult:
    """One node of a run."""

    name: str
    """As in the pipeline, with its place in the matrix: ``tflite[int8]``."""
    kind: str
    status: NodeStatus
    seconds: float = 0.0
    """Wall time of the execution that made the result; of an earlier run if cached."""
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    """Bytes of resident memory at the worker's peak."""
    key: str = ""
    reason: str = ""
    """Why it ran, or why it was skipped."""
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Input port → ``NODE.PORT`` that feeds it."""
    outputs: Mapping[str, OutputResult] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    """Unit of each metric; see `edgepipe.units`."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else its Metrics outputs hold. ``curves``: {name: {"x": [...], "y": [...]}}."""
    error: str = ""
    log: str = ""
    """Path of its log, relative to the run's folder; empty if there is none."""


@dataclass(frozen=True)
class GateResult:
    """One gate: its text, both sides' values in base units, and whether it held."""

    text: str
    passed: bool
    left: float | None
    right: float | None
    unit: str = "number"
    error: str = ""


@dataclass(frozen=True)
class Warned:
    """A warning while the run went on."""

    node: str
    """Whose it is; ``cache`` for those of the cache and of the team's store."""
    message: str


@dataclass(frozen=True)
class RunResult:
    """A whole run."""

    id: str
    pipeline: str
    file: str
    """As it was named on the command line."""
    started: str
    """ISO 8601, UTC."""
    seconds: float
    status: RunStatus
    seed: int
    nodes: tuple[NodeResult, ...]
    gates: tuple[GateResult, ...]
    machine: Mapping[str, Any] = field(default_factory=dict)
    """``cpu``, ``cores``, ``memory`` (bytes), ``system``, ``python``."""
    versions: Mapping[str, str] = field(default_factory=dict)
    edgepipe: str = ""
    warnings: tuple[Warned, ...] = ()
    """In their order; what is cached does not warn again."""
    source: str = ""
    """The file relative to the project, absolute outside it; empty in records of earlier versions."""

    def repeated(self) -> RunResult:
        """What a run finds that has nothing to do because this one did it."""
        nodes = tuple(replace(n, status="cached", reason="", log="") for n in self.nodes)
        return replace(self, seconds=0.0, nodes=nodes, warnings=())

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is data already is not copied."""
        # asdict() copies each value: 40 times as slow, and as long as all else at the end of a run.
        nodes = [
            {**vars(node), "outputs": {port: {**vars(o)} for port, o in node.outputs.items()}}
            for node in self.nodes
        ]
        gates = [{**vars(gate)} for gate in self.gates]
        warnings = [{**vars(warned)} for warned in self.warnings]
        return {**vars(self), "nodes": nodes, "gates": gates, "warnings": warnings}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunResult:
        """The inverse of `as_json`."""
        nodes = tuple(
            NodeResult(
                **{
                    **node,
                    "outputs": {p: OutputResult(**o) for p, o in node["outputs"].items()},
                }
            )
            for node in value["nodes"]
        )
        gates = tuple(GateResult(**gate) for gate in value["gates"])
        # Records of earlier versions have none.
        warnings = tuple(Warned(**warned) for warned in value.get("warnings", ()))
        return cls(**{**value, "nodes": nodes, "gates": gates, "warnings": warnings})
