"""The loop, with an executor that runs nothing: order, limits, failures, gates, interrupts."""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from projects import Compile, Folder

from edgepipe.errors import ConfigError
from edgepipe.events import (
    Event,
    GateChecked,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeRetried,
    NodeStarted,
    NodeWaits,
)
from edgepipe.executor import Job, Message
from edgepipe.ledger import Outcome
from edgepipe.machine import Machine
from edgepipe.runner import Options, Runner

Write = Callable[[Job], None]


def numbers(job: Job) -> None:
    """What a node that works writes: each output in its form."""
    for port, folder in job.outputs.items():
        name = "metrics.json" if port == "report" else "numbers.json"
        body: Any = {"total": 6.0, "share": 0.5} if port == "report" else [1, 2, 3]
        if job.node.startswith("nap"):
            body = {"latency": 0.5}
        (Path(folder) / name).write_text(json.dumps(body))


@dataclass
class FakeExecutor:
    """Finishes the oldest job at each poll, as ``endings`` has it."""

    endings: dict[str, Message | BaseException] = field(default_factory=dict)
    write: Write = numbers
    jobs: list[Job] = field(default_factory=list)
    together: list[set[str]] = field(default_factory=list)
    """Which nodes ran at once, at each poll."""
    started: list[Job] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    before: list[Message] = field(default_factory=list)
    """What is told before the first ending."""

    def start(self, job: Job) -> None:
        self.started.append(job)
        self.jobs.append(job)

    def poll(self, timeout: float) -> Sequence[Message]:
        self.together.append({job.node for job in self.jobs})
        if self.before:
            return [self.before.pop(0)]
        job = self.jobs.pop(0)
        end = self.endings.get(job.node)
        if isinstance(end, BaseException):
            self.jobs.insert(0, job)
            raise end
        if end is None:
            self.write(job)
            facts = {"seconds": 1.5, "cpu_seconds": 2.0, "peak_memory": 1000}
            end = Message(job.node, "done", facts)
        return [end]

    def close(self, *, force: bool = False) -> None:
        self.closed.append(force)


@dataclass
class Ran:
    outcome: Outcome
    executor: FakeExecutor
    events: list[Event]

    @property
    def order(self) -> list[str]:
        return [job.node for job in self.executor.started]

    @property
    def statuses(self) -> dict[str, str]:
        return {name: node.status for name, node in self.outcome.nodes.items()}


Run = Callable[..., Ran]


@pytest.fixture
def run(compiled: Compile, project: Folder) -> Run:
    def run_text(
        text: str,
        executor: FakeExecutor | None = None,
        *,
        jobs: int = 4,
        cores: int = 4,
        fresh: frozenset[str] = frozenset(),
        keep_going: bool = True,
        machine: Machine | None = None,
    ) -> Ran:
        executor = executor or FakeExecutor()
        events: list[Event] = []
        planner = compiled(text).planner
        options = Options(machine or Machine(cores), jobs, fresh, keep_going)
        runner = Runner(planner, executor, events.append, options, project.path / "logs")
        return Ran(runner.run(f"run-{uuid.uuid4()}", planner.plan(fresh)), executor, events)

    return run_text


CHAIN = (
    "stages:\n  a: {uses: numbers}\n  b: {uses: double, in: {values: a}}\n"
    "  c: {uses: total, in: {left: b}}\n"
)
WIDE = "stages: {a: {uses: numbers, matrix: {count: [1, 2, 3, 4, 5, 6]}}}\n"
ERROR = Message("", "error", {"message": "it broke", "hint": "mend it"})


def error(node: str) -> Message:
    return Message(node, "error", ERROR.data)


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


def test_the_longest_way_goes_first(run: Run) -> None:
    text = (
        "stages:\n  short: {uses: numbers, with: {count: 9}}\n  long: {uses: numbers}\n"
        "  b: {uses: double, in: {values: long}}\n  c: {uses: total, in: {left: b}}\n"
    )
    assert run(text, jobs=1).order == ["long", "b", "short", "c"]


def test_a_failure_skips_what_depends_on_it_and_nothing_else(run: Run) -> None:
    text = (
        "stages:\n  a: {uses: numbers}\n  b: {uses: double, in: {values: a}}\n"
        "  c: {uses: double, in: {values: b}}\n  d: {uses: total, in: {left: c}}\n"
        "  x: {uses: numbers, with: {count: 5}}\n  y: {uses: double, in: {values: x}, with: {factor: 5}}\n"
        "gates: [d.total < 3, x.total == 6]\n"
    )
    ran = run(text, FakeExecutor({"b": error("b")}))
    assert ran.statuses == {
        "a": "ran",
        "b": "failed",
        "c": "skipped",
        "d": "skipped",
        "x": "ran",
        "y": "ran",
    }
    assert ran.outcome.status == "failed"
    assert ran.outcome.nodes["b"].error == "it broke\nmend it"
    assert ran.outcome.nodes["c"].reason == "b failed"
    assert ran.outcome.nodes["d"].reason == "c skipped"
    assert [gate.passed for gate in ran.outcome.gates] == [False, True]
    assert "d has no result" in ran.outcome.gates[0].error
    # It left no record: the same command runs it again, and only it and what follows.
    again = run(text)
    assert again.order == ["b", "d"]
    # c has the key of b, since the fake makes one content of all.
    assert again.statuses["c"] == "cached"
    assert again.outcome.status == "gate failed"


def test_without_keep_going_nothing_more_is_started(run: Run) -> None:
    ran = run(WIDE, FakeExecutor({"a[1]": error("a[1]")}), jobs=2, keep_going=False)
    assert ran.order == ["a[1]", "a[2]"]
    assert ran.statuses["a[2]"] == "ran"
    assert ran.outcome.nodes["a[3]"].reason == "stopped"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda job: (Path(job.outputs["values"]) / "l").symlink_to("/etc"), "no regular file"),
        (lambda job: (Path(job.outputs["report"]) / "metrics.json").write_text("["), "not JSON"),
        (lambda job: (Path(job.outputs["report"]) / "metrics.json").write_text("3"), "an object"),
    ],
)
def test_what_cannot_be_published_fails_the_node(run: Run, write: Write, message: str) -> None:
    def both(job: Job) -> None:
        numbers(job)
        write(job)

    ran = run("stages: {a: {uses: numbers}}\n", FakeExecutor(write=both))
    assert ran.outcome.status == "failed"
    assert message in ran.outcome.nodes["a"].error
    assert run("stages: {a: {uses: numbers}}\n").order == ["a"]


def test_gates(run: Run) -> None:
    text = CHAIN + (
        "gates: [a.total <= 6, a.total < 6, a.size < 1 kB, a.values.size == 9,"
        " a.total / 0 < 1, a.report.total > 0, c.total >= a.total]\n"
    )
    ran = run(text)
    assert [gate.passed for gate in ran.outcome.gates] == [
        True,
        False,
        True,
        True,
        False,
        True,
        True,
    ]
    assert ran.outcome.status == "gate failed"
    assert ran.outcome.gates[4].error == "a division by zero"
    assert ran.outcome.gates[2].unit == "bytes"
    assert [e.result for e in ran.events if isinstance(e, GateChecked)] == ran.outcome.gates
    share = run(CHAIN + "gates: [a.share > 0.1, a.share > a.total]\n").outcome.gates
    assert [gate.unit for gate in share] == ["fraction", "number"]


def test_a_metric_that_was_promised_and_not_made_fails_its_gate(run: Run) -> None:
    def write(job: Job) -> None:
        numbers(job)
        (Path(job.outputs["report"]) / "metrics.json").write_text('{"total": 1}')

    ran = run("stages: {a: {uses: numbers}}\ngates: [a.share > 0]\n", FakeExecutor(write=write))
    assert ran.outcome.gates[0].error == "not known: a made no share"
    assert ran.outcome.status == "gate failed"


def test_an_interrupt_keeps_what_is_finished(run: Run) -> None:
    ran = run(CHAIN, FakeExecutor({"b": KeyboardInterrupt()}))
    assert ran.outcome.status == "interrupted"
    assert ran.statuses == {"a": "ran", "b": "skipped", "c": "skipped"}
    assert ran.outcome.nodes["b"].reason == "interrupted"
    assert ran.outcome.nodes["c"].reason == "not reached"
    assert ran.executor.closed == [False]
    assert run(CHAIN).order == ["b", "c"]


def test_a_second_interrupt_ends_at_once(run: Run) -> None:
    class Stubborn(FakeExecutor):
        def close(self, *, force: bool = False) -> None:
            super().close(force=force)
            if not force:
                raise KeyboardInterrupt

    ran = run(CHAIN, Stubborn({"a": KeyboardInterrupt()}))
    assert ran.executor.closed == [False, True]
    assert ran.outcome.status == "interrupted"


def test_whatever_happens_the_executor_is_closed_and_staging_is_empty(
    run: Run, project: Folder
) -> None:
    executor = FakeExecutor({"b": RuntimeError("a bug")})
    with pytest.raises(RuntimeError):
        run(CHAIN, executor)
    assert executor.closed == [True]
    assert not list((project.cache / "tmp").iterdir())


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


def test_what_a_node_tells_is_passed_on(run: Run) -> None:
    told = [
        Message("a", "log", {"message": "one"}),
        Message("a", "warning", {"message": "two"}),
        Message("a", "progress", {"done": 1, "total": 4, "numbers": {"loss": 0.5}}),
        Message("nobody", "log", {"message": "lost"}),
    ]
    ran = run("stages: {a: {uses: numbers}}\n", FakeExecutor(before=told))
    middle = [e for e in ran.events if isinstance(e, NodeLog | NodeProgress)]
    assert middle == [
        NodeLog("a", "one"),
        NodeLog("a", "two", warning=True),
        NodeProgress("a", 1, 4, {"loss": 0.5}),
    ]
    kinds = [type(e) for e in ran.events if isinstance(e, NodeStarted | NodeFinished)]
    assert kinds == [NodeStarted, NodeFinished]


def test_an_input_that_changes_while_it_is_read_is_not_kept(run: Run, project: Folder) -> None:
    project.write("words.txt", "before")

    def write(job: Job) -> None:
        (Path(job.outputs["words"]) / "words.txt").write_text("BEFORE")
        project.write("words.txt", "after")

    text = "stages: {a: {uses: text.upper, with: {file: words.txt}}}\n"
    ran = run(text, FakeExecutor(write=write))
    assert ran.outcome.status == "failed"
    assert "file changed while" in ran.outcome.nodes["a"].error
    project.write("words.txt", "before")
    assert run(text, FakeExecutor({"a": error("a")})).order == ["a"]


def test_what_a_node_needs_may_vanish(run: Run, project: Folder) -> None:
    path = project.write("words.txt", "text")

    def write(job: Job) -> None:
        path.unlink(missing_ok=True)
        numbers(job)

    text = (
        "stages:\n  a: {uses: numbers}\n  b: {uses: double, in: {values: a}}\n"
        "  z: {uses: text.upper, with: {file: words.txt}}\n"
    )
    executor = FakeExecutor(write=write)
    ran = run(text, executor, jobs=1)
    assert ran.statuses["a"] == "ran"
    assert ran.statuses["z"] == "failed"
    assert ran.outcome.status == "failed"


def test_logs_of_different_nodes_have_different_names(run: Run, project: Folder) -> None:
    values = ["b", "b.c", "d/c", "d%2Fc", "../up", "b c"]
    for value in values:
        project.write(value, value)
    text = (
        f"stages:\n  a: {{uses: text.upper, matrix: {{file: {values}}}}}\n"
        "  a-b: {uses: numbers}\n"
    )

    def write(job: Job) -> None:
        for folder in job.outputs.values():
            for name in ("metrics.json", "numbers.json", "words.txt"):
                (Path(folder) / name).write_text("{}")

    ran = run(text, FakeExecutor(write=write))
    logs = [Path(job.log) for job in ran.executor.started]
    assert len(set(logs)) == len(logs) >= 6
    assert {log.parent for log in logs} == {project.path / "logs"}


def test_a_node_is_tried_again_and_keeps_its_checkpoints(run: Run) -> None:
    attempts: list[str] = []

    @dataclass
    class Flaky(FakeExecutor):
        def poll(self, timeout: float) -> Sequence[Message]:
            job = self.jobs[0]
            attempts.append(job.scratch)
            if len(attempts) <= 2:
                Path(job.scratch).mkdir(parents=True, exist_ok=True)
                (Path(job.scratch) / f"checkpoint {len(attempts)}").write_text("half way")
                self.jobs.pop(0)
                return [error(job.node)]
            assert len(list(Path(job.scratch).iterdir())) == 2
            return super().poll(timeout)

    ran = run("stages: {a: {uses: numbers, retries: 2}}\n", Flaky())
    assert ran.outcome.status == "done"
    assert ran.order == ["a", "a", "a"]
    assert len(set(attempts)) == 1
    told = [event for event in ran.events if isinstance(event, NodeRetried)]
    assert [(e.attempt, e.retries, e.message) for e in told] == [
        (1, 2, "it broke"),
        (2, 2, "it broke"),
    ]


def test_a_node_that_always_fails_is_given_up(run: Run) -> None:
    ran = run("stages: {a: {uses: numbers, retries: 1}}\n", FakeExecutor({"a": error("a")}))
    assert ran.order == ["a", "a"]
    assert ran.statuses == {"a": "failed"}
    assert run("stages: {a: {uses: numbers}}\n", FakeExecutor({"a": error("a")})).order == ["a"]


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


def test_a_metric_that_is_not_declared_is_said(run: Run) -> None:
    def write(job: Job) -> None:
        numbers(job)
        (Path(job.outputs["report"]) / "metrics.json").write_text('{"total": 1, "extra": 2}')

    ran = run("stages: {a: {uses: numbers}}\n", FakeExecutor(write=write))
    said = [event.message for event in ran.events if isinstance(event, NodeLog) and event.warning]
    assert said == ["the metric 'extra' is not declared by numbers: no gate can name it"]
    assert ran.outcome.status == "done"


def test_a_long_chain_is_run_without_a_pause(run: Run) -> None:
    chain = "stages:\n  n0: {uses: numbers}\n" + "".join(
        f"  n{i}: {{uses: double, in: {{values: n{i - 1}}}, with: {{factor: {i}}}}}\n"
        for i in range(1, 400)
    )
    began = time.monotonic()
    assert len(run(chain).order) == 400
    # Waiting a tenth of a second for what has just ended would take 40.
    assert time.monotonic() - began < 20
