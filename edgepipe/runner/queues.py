"""Which nodes can go on: what waits for inputs, what can be looked up, what can be started."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping

from edgepipe.graph import Graph


class Queues:
    """The nodes of a graph on their way: waiting → ready (all inputs there) → to run.

    Every step costs at most the logarithm of the number of nodes.
    """

    def __init__(self, graph: Graph, times: Mapping[str, float]) -> None:
        """Put each node where it begins.

        Args:
            graph: the nodes.
            times: seconds that nodes took last time, where known.
        """
        self._graph = graph
        self._order = {name: number for number, name in enumerate(graph.nodes)}
        self._missing = {
            name: len({source.node for source in node.inputs.values()})
            for name, node in graph.nodes.items()
        }
        self._priority = _longest_ways(graph, times)
        self.ready = deque(
            sorted(
                (name for name, count in self._missing.items() if not count),
                key=lambda name: -self._priority[name],
            )
        )
        """Nodes with all their inputs, not looked up yet."""
        self._to_run: list[tuple[float, int, str]] = []

    def take_ready(self) -> list[str]:
        """Take all out of `ready`."""
        names = list(self.ready)
        self.ready.clear()
        return names

    def settled(self, name: str) -> None:
        """A node's outputs are there: what reads them may have all its inputs now."""
        for user in self._graph.users[name]:
            self._missing[user] -= 1
            if not self._missing[user]:
                self.ready.append(user)

    def must_run(self, name: str) -> None:
        """A node is not cached."""
        heapq.heappush(self._to_run, (-self._priority[name], self._order[name], name))

    @property
    def first(self) -> str | None:
        """The node to start next: that from which the longest way leads to the end."""
        return self._to_run[0][2] if self._to_run else None

    def pop(self) -> str:
        """Take `first` out."""
        return heapq.heappop(self._to_run)[2]


def _longest_ways(graph: Graph, times: Mapping[str, float]) -> dict[str, float]:
    """Seconds from a node to the end of the graph along the longest way."""
    longest: dict[str, float] = {}
    for name in reversed(graph.nodes):
        after = max((longest[user] for user in graph.users[name]), default=0.0)
        longest[name] = after + times.get(name, 1.0)
    return longest
