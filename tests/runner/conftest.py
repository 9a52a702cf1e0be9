"""Runs a pipeline with an executor that runs nothing."""

from __future__ import annotations

import uuid

import pytest
from fake_executor import FakeExecutor, Ran, Run
from projects import Compile, Folder

from edgepipe.events import Event
from edgepipe.machine import Machine
from edgepipe.runner import Options, Runner


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
