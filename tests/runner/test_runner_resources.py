"""How many nodes run at once, and what each of them gets."""

from __future__ import annotations

import pytest
from fake_executor import WIDE, FakeExecutor, Run

from edgepipe.errors import ConfigError
from edgepipe.machine import Machine


@pytest.mark.parametrize(("jobs", "cores", "most"), [(1, 4, 1), (2, 4, 2), (4, 3, 3), (9, 9, 6)])
def test_limits_on_what_runs_at_once(run: Run, jobs: int, cores: int, most: int) -> None:
    ran = run(WIDE, jobs=jobs, cores=cores)
    assert max(map(len, ran.executor.together)) == most
    assert len(ran.order) == 6


def test_threads_of_a_node(run: Run) -> None:
    text = (
        "stages:\n  all: {uses: numbers, cpus: 0}\n  many: {uses: numbers, cpus: 64, with: {count: 4}}\n"
        "  two: {uses: numbers, cpus: 2, with: {count: 5}}\n  one: {uses: numbers, with: {count: 6}}\n"
    )
    ran = run(text, cores=4)
    assert {job.node: job.threads for job in ran.executor.started} == {
        "all": 4,
        "many": 4,
        "two": 2,
        "one": 1,
    }
    assert all(
        together <= {"two", "one"} or len(together) == 1 for together in ran.executor.together
    )


def test_what_measures_runs_alone(run: Run) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2, 3]}}\n"
        "  nap: {uses: measure, in: {values: a}}\n  d: {uses: double, in: {values: a}}\n"
    )
    ran = run(text)
    assert ran.outcome.status == "done"
    for together in ran.executor.together:
        if any(name.startswith("nap") for name in together):
            assert len(together) == 1


def test_gpus_are_given_to_one_node_at_a_time(run: Run) -> None:
    text = "stages: {a: {uses: numbers, gpus: 1, matrix: {count: [1, 2, 3]}}, b: {uses: numbers, with: {count: 9}}}\n"
    ran = run(text, machine=Machine(8, gpus=2))
    on_gpus = [{n for n in together if n.startswith("a")} for together in ran.executor.together]
    assert max(map(len, on_gpus)) == 2
    given = {job.node: job.gpus for job in ran.executor.started}
    assert given["b"] == ""
    assert {given[f"a[{n}]"] for n in (1, 2, 3)} == {"0", "1"}


def test_too_many_gpus_are_said_before_anything_runs(run: Run) -> None:
    text = "stages:\n  first: {uses: numbers}\n  a:\n    uses: numbers\n    gpus: 3\n"
    executor = FakeExecutor()
    with pytest.raises(ConfigError, match="'a' needs 3 GPUs, and there are 2") as caught:
        run(text, executor, machine=Machine(8, gpus=2))
    assert caught.value.problems[0].where is not None
    assert executor.started == []


def test_nodes_side_by_side_fit_into_memory(run: Run) -> None:
    text = (
        "stages:\n  a: {uses: numbers, memory: 3 GB, matrix: {count: [1, 2, 3, 4]}}\n"
        "  b: {uses: numbers, memory: 100 GB}\n  c: {uses: numbers, with: {count: 8}}\n"
    )
    ran = run(text, machine=Machine(8, memory=8_000_000_000))
    assert ran.outcome.status == "done"
    for together in ran.executor.together:
        assert len({n for n in together if n.startswith("a")}) <= 2
        # One that asks for more than there is runs by itself.
        assert "b" not in together or not any(n.startswith("a") for n in together)
