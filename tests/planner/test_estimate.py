"""How long a run will take, from what its nodes took before."""

from __future__ import annotations

import pytest
from projects import Compile

from edgepipe.planner.estimate import estimate

TEXT = """\
stages:
  a: {uses: numbers}
  b: {uses: double, in: {values: a}}
  c: {uses: double, in: {values: a}, with: {factor: 3}}
  d: {uses: total, in: {left: b, right: c}}
  m: {uses: measure, in: {values: a}}
"""
TIMES = {"a": 1.0, "b": 10.0, "c": 20.0, "d": 2.0, "m": 5.0}


@pytest.mark.parametrize(
    ("cores", "jobs", "seconds"),
    [
        (1, 1, 38.0),
        (4, 1, 38.0),
        # b and c side by side; m alone, after them.
        (2, 2, 28.0),
        (4, 4, 28.0),
    ],
)
def test_a_run_is_played_through(compiled: Compile, cores: int, jobs: int, seconds: float) -> None:
    graph = compiled(TEXT).graph
    found = estimate(graph, set(TIMES), TIMES, cores, jobs)
    assert found.seconds == seconds
    assert found.work == 38.0
    assert (found.path, found.path_seconds) == (("a", "c", "d"), 23.0)
    assert found.unknown == 0


def test_only_what_runs_counts_and_what_never_ran_is_said(compiled: Compile) -> None:
    graph = compiled(TEXT).graph
    found = estimate(graph, {"c", "d"}, {"c": 20.0}, 2, 2)
    assert (found.seconds, found.path, found.unknown) == (20.0, ("c", "d"), 1)
    assert estimate(graph, set(), TIMES, 2, 2).seconds == 0.0


def test_a_long_chain_is_no_problem(compiled: Compile) -> None:
    lines = ["  a0: {uses: numbers}"]
    lines += [f"  a{i}: {{uses: double, in: {{values: a{i - 1}}}}}" for i in range(1, 1500)]
    found = compiled("stages:\n" + "\n".join(lines) + "\n")
    assert len(found.planner.plan()) == 1500
    times = dict.fromkeys(found.graph.nodes, 1.0)
    assert estimate(found.graph, set(times), times, 2, 2).path_seconds == 1500.0
