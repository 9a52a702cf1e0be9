"""Nodes that fail, runs that are interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_executor import CHAIN, WIDE, FakeExecutor, Run, Write, error, numbers
from projects import Folder

from edgepipe.events import (
    NodeRetried,
)
from edgepipe.executor import Job, Message


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
    failed = ran.outcome.nodes["b"]
    assert failed.error == "it broke\nmend it"
    assert (failed.reason, failed.params["factor"]) == ("never run", 2.0)
    assert failed.inputs == {"values": "a.values"}
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


def test_processes_are_not_used_again_where_the_node_that_finds_the_edit_fails(
    run: Run, project: Folder
) -> None:
    """The next one would run in a process that may have imported what was there in between."""
    project.write("n", "1")
    plugin = project.path / "plugins/double.py"

    def write(job: Job) -> None:
        numbers(job)
        if job.node == "a":
            project.write("n", "2")
            plugin.write_text(f"# A comment.\n{plugin.read_text()}")

    text = "stages: {a: {uses: numbers}, b: {uses: text.upper, with: {file: n}, in: {values: a}}}\n"
    ran = run(text.replace(", in: {values: a}", ""), FakeExecutor(write=write), jobs=1)
    assert ran.outcome.nodes["b"].error.startswith("file changed since the run began")
    assert ran.executor.renewed == 1


THINGS = """
from _values import Numbers

from edgepipe.stage import Context, Stage, optional


class Things(Stage):
    inputs = {"values": optional(Numbers)}
    outputs = {"values": Numbers}
    requires = ("a-thing-of-this-test",)

    def run(self, ctx: Context) -> None:
        raise NotImplementedError
"""


def test_a_node_whose_distribution_was_upgraded_before_its_turn_does_not_begin(
    run: Run, project: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"

    def install(version: str) -> None:
        for old in site.glob("*"):
            shutil.rmtree(old)
        folder = site / f"a_thing_of_this_test-{version}.dist-info"
        folder.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: a-thing-of-this-test\nVersion: {version}\n"
        (folder / "METADATA").write_text(text)

    install("1.0")
    monkeypatch.syspath_prepend(site)
    project.write("plugins/things.py", THINGS)

    def write(job: Job) -> None:
        numbers(job)
        if job.node == "a":
            install("2.0")

    text = "stages: {a: {uses: things}, b: {uses: things, in: {values: a}}}\n"
    ran = run(text, FakeExecutor(write=write))
    assert ran.outcome.nodes["a"].status == "ran"
    said = "a-thing-of-this-test 1.0 → 2.0 changed since the run began"
    assert ran.outcome.nodes["b"].error.startswith(said)
