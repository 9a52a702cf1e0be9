"""Gates, and what a run tells of its nodes."""

from __future__ import annotations

from pathlib import Path

from fake_executor import CHAIN, FakeExecutor, Run, numbers
from projects import Folder

from edgepipe.events import (
    GateChecked,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeStarted,
    RunStarted,
)
from edgepipe.executor import Job, Message


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


def test_logs_of_nodes_with_long_names_can_be_written(run: Run, project: Folder) -> None:
    values = ["ü" * 80, "ü" * 79 + "x", "ü" * 79 + "y"]
    for value in values:
        project.write(value, value)
    name = "a" * 300
    text = (
        f"stages:\n  a: {{uses: text.upper, matrix: {{file: {values}}}}}\n"
        f"  {name}: {{uses: numbers}}\n  {name}b: {{uses: numbers, with: {{count: 7}}}}\n"
    )

    def write(job: Job) -> None:
        Path(job.log).write_text(job.node)
        for folder in job.outputs.values():
            for file in ("metrics.json", "numbers.json", "words.txt"):
                (Path(folder) / file).write_text("{}")

    ran = run(text, FakeExecutor(write=write))
    logs = {job.node: Path(job.log) for job in ran.executor.started}
    assert len(logs) == 5
    assert {node: log.read_text() for node, log in logs.items()} == {node: node for node in logs}


def test_a_metric_that_is_not_declared_is_said(run: Run) -> None:
    def write(job: Job) -> None:
        numbers(job)
        (Path(job.outputs["report"]) / "metrics.json").write_text('{"total": 1, "extra": 2}')

    ran = run("stages: {a: {uses: numbers}}\n", FakeExecutor(write=write))
    said = [event.message for event in ran.events if isinstance(event, NodeLog) and event.warning]
    assert said == ["the metric 'extra' is not declared by numbers: no gate can name it"]
    assert ran.outcome.status == "done"


TRAINS = """
from _values import Numbers

from edgepipe.stage import Context, Stage


class Trains(Stage):
    outputs = {"values": Numbers}
    epochs: int = 2

    def run(self, ctx: Context) -> None:
        raise NotImplementedError
"""


def test_the_time_of_fewer_epochs_is_told_as_none_of_more(run: Run, project: Folder) -> None:
    project.write("plugins/trains.py", TRAINS)

    def told(epochs: int) -> dict[str, float]:
        ran = run(f"stages: {{t: {{uses: trains, with: {{epochs: {epochs}}}}}}}\n")
        return next(dict(e.estimates) for e in ran.events if isinstance(e, RunStarted))

    assert told(4) == {}
    assert told(3) == {"t": 1.5}
    assert told(5) == {}
