"""How long a run will take, from what its nodes took before."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from edgepipe.explain import Change
from edgepipe.graph import Graph

_LENGTHS = {"epochs", "iterations", "step_epochs", "steps"}
"""Parameters that a node's time grows with."""


@dataclass(frozen=True)
class Estimate:
    """What a run will cost, as far as that is known."""

    seconds: float
    """From beginning to end, on so many cores."""
    work: float
    """Of all nodes together, one after the other."""
    path: tuple[str, ...]
    """The nodes that no number of cores makes shorter, in their order."""
    path_seconds: float
    unknown: int
    """Nodes whose time is not known; they are left out."""


def grown(changes: Iterable[Change]) -> bool:
    """Whether a node has more epochs or steps than when it ran last: that time says nothing then.

    A time is not scaled: what of it the epochs took is not known.
    """
    return any(
        change.what == "params"
        and change.name.rpartition(".")[2] in _LENGTHS
        and not _less(change.after, change.before)
        for change in changes
    )


def _less(one: Any, two: Any) -> bool:
    numbers = isinstance(one, int | float) and isinstance(two, int | float)
    return numbers and one < two


def estimate(
    graph: Graph, to_run: Set[str], times: Mapping[str, float], cores: int, jobs: int
) -> Estimate:
    """Play a run through, as the runner would go about it.

    Args:
        graph: the graph.
        to_run: the nodes that run.
        times: seconds that nodes took, as far as they are known.
        cores: threads that all nodes together may keep busy.
        jobs: nodes that may run at once.
    """
    seconds = {name: times.get(name, 0.0) for name in graph.nodes if name in to_run}
    after: dict[str, float] = {}
    following: dict[str, str | None] = {}
    for name in reversed(graph.nodes):
        users = [user for user in graph.users[name] if user in after]
        longest = max(users, key=after.__getitem__, default=None)
        if name in seconds or longest is not None:
            after[name] = seconds.get(name, 0.0) + (after[longest] if longest else 0.0)
            following[name] = longest
    start = max(after, key=after.__getitem__, default=None)
    path: list[str] = []
    at = start
    while at is not None:
        if at in seconds:
            path.append(at)
        at = following[at]
    return Estimate(
        _played(graph, seconds, after, cores, jobs),
        sum(seconds.values()),
        tuple(path),
        after[start] if start else 0.0,
        sum(name not in times for name in seconds),
    )


def _played(
    graph: Graph, seconds: Mapping[str, float], after: Mapping[str, float], cores: int, jobs: int
) -> float:
    """When the last node ends."""
    missing = {
        name: len({s.node for s in graph.nodes[name].inputs.values() if s.node in seconds})
        for name in seconds
    }
    ready = [(-after[name], name) for name, count in missing.items() if not count]
    heapq.heapify(ready)
    running: list[tuple[float, str, int]] = []
    now, free = 0.0, cores
    alone = False
    while ready or running:
        while ready and len(running) < jobs and not alone:
            name = ready[0][1]
            node = graph.nodes[name]
            threads = min(node.cpus or cores, cores)
            if running and (node.stage.measures or threads > free):
                break
            heapq.heappop(ready)
            free -= threads
            alone = node.stage.measures
            heapq.heappush(running, (now + seconds[name], name, threads))
        now, name, threads = heapq.heappop(running)
        free += threads
        alone = False
        for user in graph.users[name]:
            if user in missing:
                missing[user] -= 1
                if not missing[user]:
                    heapq.heappush(ready, (-after[user], user))
    return now
