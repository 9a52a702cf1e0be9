"""A compiled pipeline: nodes, what feeds them, and questions about the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgepipe.environments import Environment
from edgepipe.errors import ConfigError, Where, did_you_mean
from edgepipe.gates import Gate
from edgepipe.kinds import Kind
from edgepipe.spec import Scalar
from edgepipe.stage import Metrics, Stage
from edgepipe.yamltree import Node

if TYPE_CHECKING:
    import networkx

SIZE = "size"
"""The metric that every node with one artifact has: its bytes."""


@dataclass(frozen=True)
class Source:
    """The output that feeds an input."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


@dataclass(frozen=True)
class GraphNode:
    """A stage in the graph, at one point of its matrix."""

    name: str
    kind: Kind
    stage: Stage
    inputs: Mapping[str, Source]
    seed: int
    timeout: float | None
    cpus: int
    """0: all of the machine."""
    gpus: int
    memory: int
    """Bytes; 0: not said."""
    retries: int
    base: Path
    """The folder to which paths among the parameters are relative, if no place says more."""
    place: Where
    tree: Node
    """Its parameters as written, with their places."""
    axes: Mapping[str, Scalar] = field(default_factory=dict)
    environment: Environment | None = None
    """Locked; None: edgepipe's own interpreter runs it."""

    @property
    def artifact(self) -> str | None:
        """The one output that is no Metrics; None if there are none or several."""
        found = [p for p, t in self.stage.outputs.items() if not issubclass(t, Metrics)]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Graph:
    """A compiled pipeline: nodes in an order in which each comes after its inputs."""

    name: str
    seed: int
    path: Path
    nodes: dict[str, GraphNode]
    gates: tuple[tuple[Gate, Where], ...]
    files: tuple[Path, ...]

    @cached_property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """Node → the nodes that read an output of it."""
        users: dict[str, dict[str, None]] = {name: {} for name in self.nodes}
        for name, node in self.nodes.items():
            for source in node.inputs.values():
                users[source.node][name] = None
        return {name: tuple(found) for name, found in users.items()}

    def levels(self) -> list[list[str]]:
        """The nodes in groups: all inputs of a node come from groups before its own."""
        level: dict[str, int] = {}
        groups: list[list[str]] = []
        for name, node in self.nodes.items():
            here = max((level[s.node] + 1 for s in node.inputs.values()), default=0)
            level[name] = here
            if here == len(groups):
                groups.append([])
            groups[here].append(name)
        return groups

    @cached_property
    def digraph(self) -> networkx.DiGraph[str]:
        """The same as a networkx graph; edges bear ``source`` and ``port``."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(self.nodes)
        for name, node in self.nodes.items():
            for port, source in node.inputs.items():
                graph.add_edge(source.node, name, source=source.port, port=port)
        return graph

    def named(self, target: str) -> frozenset[str]:
        """The nodes that a name means: ``NODE``, all of its matrix, or ``NODE[INDEX]``.

        Raises:
            ConfigError: there is no such node.
        """
        found = frozenset(n for n in self.nodes if target in {n, n.partition("[")[0]})
        if not found:
            hint = did_you_mean(target, self.nodes, "nodes")
            raise ConfigError(f"there is no node '{target}'", hint)
        return found

    def after(self, target: str) -> frozenset[str]:
        """The nodes that a name means, and all that is made from them. Raises as `named`."""
        import networkx

        found = set(self.named(target))
        for name in list(found):
            found |= networkx.descendants(self.digraph, name)
        return frozenset(found)

    def only(self, wanted: frozenset[str]) -> Graph:
        """The same with these nodes, and what they need, alone."""
        import networkx

        keep = set(wanted)
        for name in wanted:
            keep |= networkx.ancestors(self.digraph, name)
        nodes = {name: node for name, node in self.nodes.items() if name in keep}
        gates = tuple(
            (gate, where)
            for gate, where in self.gates
            if all(str(replace(m.ref, rest=())) in keep for m in gate.metrics)
        )
        return replace(self, nodes=nodes, gates=gates)
