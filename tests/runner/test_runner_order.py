"""What runs, in which order, and what is found again."""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from pathlib import Path

from fake_executor import CHAIN, FakeExecutor, Run, numbers
from projects import Compile, Folder

from edgepipe.events import (
    NodeWaits,
)
from edgepipe.executor import Job
from edgepipe.machine import Machine
from edgepipe.runner import Options, Runner


def test_nodes_run_after_what_they_read_and_are_found_again(run: Run) -> None:
    first = run(CHAIN)
    assert first.order == ["a", "b", "c"]
    assert first.outcome.status == "done"
    assert set(first.statuses.values()) == {"ran"}
    second = run(CHAIN)
    assert second.order == []
    assert set(second.statuses.values()) == {"cached"}
    assert second.outcome.nodes["a"].seconds == 1.5
    assert second.outcome.nodes["a"].metrics == {"total": 6.0, "share": 0.5}
    assert second.outcome.nodes["a"].units == {"total": "number", "share": "fraction"}


def test_what_was_planned_as_cached_and_is_gone_runs(compiled: Compile, project: Folder) -> None:
    for lost in ("records", "objects"):
        for again in (False, True):
            planner, executor = compiled(CHAIN).planner, FakeExecutor()
            decisions = planner.plan()
            if again:
                assert all(decision.record for decision in decisions)
                shutil.rmtree(project.cache / lost)
            options, logs = Options(Machine(4), 4), project.path / "logs"
            runner = Runner(planner, executor, lambda event: None, options, logs)
            outcome = runner.run(f"run-{uuid.uuid4()}", decisions)
            assert outcome.status == "done"
        # All make the same: with the first, the objects of the others are there again.
        statuses = [node.status for node in outcome.nodes.values()]
        assert statuses == (["ran"] * 3 if lost == "records" else ["ran", "cached", "cached"])


def test_inputs_are_laid_out_and_outputs_are_empty_folders(run: Run) -> None:
    def write(job: Job) -> None:
        if job.node == "b":
            found = Path(job.inputs["values"]) / "numbers.json"
            assert json.loads(found.read_text()) == [1, 2, 3]
        assert all(not list(Path(folder).iterdir()) for folder in job.outputs.values())
        Path(job.scratch).mkdir(parents=True)
        numbers(job)

    ran = run(CHAIN, FakeExecutor(write=write))
    assert ran.outcome.status == "done"
    # Nothing is left behind.
    assert not any(Path(job.scratch).exists() for job in ran.executor.started)
    assert not any(
        Path(folder).exists() for job in ran.executor.started for folder in job.outputs.values()
    )


def test_a_change_runs_what_depends_on_it_and_says_why(run: Run) -> None:
    run(CHAIN)
    ran = run(CHAIN.replace("in: {values: a}", "in: {values: a}, with: {factor: 3}"))
    # The fake makes the same output, so the run stops there: c is found by content.
    assert ran.order == ["b"]
    assert ran.outcome.nodes["b"].reason == "b.with.factor: 2.0 → 3.0"
    assert ran.outcome.nodes["c"].status == "cached"


def test_the_longest_way_goes_first(run: Run) -> None:
    text = (
        "stages:\n  short: {uses: numbers, with: {count: 9}}\n  long: {uses: numbers}\n"
        "  b: {uses: double, in: {values: long}}\n  c: {uses: total, in: {left: b}}\n"
    )
    assert run(text, jobs=1).order == ["long", "b", "short", "c"]


def test_fresh_runs_what_is_cached(run: Run) -> None:
    run(CHAIN)
    ran = run(CHAIN, fresh=frozenset({"b"}))
    assert ran.order == ["b"]
    assert ran.outcome.nodes["b"].reason == "asked for"


def test_two_nodes_of_one_key_run_once(run: Run) -> None:
    text = "stages:\n  a: {uses: numbers}\n  b: {uses: numbers}\n  c: {uses: numbers, seed: 3}\n"
    ran = run(text)
    assert sorted(ran.order) == ["a", "c"]
    assert ran.statuses["b"] == "cached"
    # One folder for checkpoints is never given to two.
    assert len({job.scratch for job in ran.executor.started}) == len(ran.order)


def test_a_result_that_another_run_is_making_is_waited_for(
    run: Run, compiled: Compile, project: Folder
) -> None:
    first = run("stages: {a: {uses: numbers}}\n")
    [job] = first.executor.started
    key = first.outcome.nodes["a"].key
    store = compiled("stages: {a: {uses: numbers}}\n").planner.store
    record = store.record(key)
    assert record is not None
    path = project.cache / "records" / key[:2] / key[2:]
    path.unlink()
    lock = store.lock(key)
    assert lock is not None
    publishes = threading.Timer(0.5, lambda: (store.put_record(record), lock.release()))
    publishes.start()
    second = run("stages: {a: {uses: numbers}}\n")
    publishes.join()
    assert second.order == []
    assert second.statuses == {"a": "cached"}
    waits = [event for event in second.events if isinstance(event, NodeWaits)]
    assert waits == [NodeWaits("a", "another run is making it")]
    assert job.node == "a"


def test_a_long_chain_is_run_without_a_pause(run: Run) -> None:
    chain = "stages:\n  n0: {uses: numbers}\n" + "".join(
        f"  n{i}: {{uses: double, in: {{values: n{i - 1}}}, with: {{factor: {i}}}}}\n"
        for i in range(1, 400)
    )
    began = time.monotonic()
    assert len(run(chain).order) == 400
    # Waiting a tenth of a second for what has just ended would take 40.
    assert time.monotonic() - began < 20
