"""What came of each node so far, told as it happens; a failure skips what depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgepipe.events import GateChecked, Listener, NodeFinished
from edgepipe.gatecheck import evaluate
from edgepipe.graph import Graph
from edgepipe.results import GateResult, NodeResult, RunStatus
from edgepipe.store import Record


@dataclass
class Outcome:
    """What came of all nodes and gates."""

    nodes: dict[str, NodeResult] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def status(self) -> RunStatus:
        """How the run ended as a whole."""
        if self.interrupted:
            return "interrupted"
        if any(node.status in {"failed", "skipped"} for node in self.nodes.values()):
            return "failed"
        return "done" if all(gate.passed for gate in self.gates) else "gate failed"


class Ledger:
    """Keeps the outcome of a run."""

    def __init__(self, graph: Graph, tell: Listener) -> None:
        self.graph = graph
        self.tell = tell
        self.outcome = Outcome()

    def __contains__(self, name: str) -> bool:
        """Whether a node is over."""
        return name in self.outcome.nodes

    def finish(self, result: NodeResult, log_path: str = "") -> None:
        """A node is over."""
        self.outcome.nodes[result.name] = result
        self.tell(NodeFinished(result, log_path))

    def fail(self, result: NodeResult, log_path: str) -> None:
        """A node failed for good: what depends on it is skipped."""
        self.finish(result, log_path)
        broken = [result.name]
        while broken:
            name = broken.pop()
            status = self.outcome.nodes[name].status
            for user in self.graph.users[name]:
                if user not in self:
                    self.skip(user, f"{name} {status}")
                    broken.append(user)

    def skip(self, name: str, reason: str) -> None:
        """A node is not run."""
        kind = self.graph.nodes[name].kind.name
        self.finish(NodeResult(name, kind, "skipped", reason=reason))

    def close(self, records: Mapping[str, Record]) -> Outcome:
        """Judge the gates by the nodes' records; the whole outcome, in the order of the graph."""
        for gate, _ in self.graph.gates:
            result = evaluate(gate, self.graph, records)
            self.outcome.gates.append(result)
            self.tell(GateChecked(result))
        self.outcome.nodes = {name: self.outcome.nodes[name] for name in self.graph.nodes}
        return self.outcome
