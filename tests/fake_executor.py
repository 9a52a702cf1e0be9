"""An executor that runs nothing: it writes what nodes would write, and ends them as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepipe.events import (
    Event,
)
from edgepipe.executor import Job, Message
from edgepipe.runner.ledger import Outcome

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
    renewed: int = 0
    """How often it was told to use none of its processes again."""
    before: list[Message] = field(default_factory=list)
    """What is told before the first ending."""

    def start(self, job: Job) -> None:
        self.started.append(job)
        self.jobs.append(job)

    def renew(self) -> None:
        self.renewed += 1

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


CHAIN = (
    "stages:\n  a: {uses: numbers}\n  b: {uses: double, in: {values: a}}\n"
    "  c: {uses: total, in: {left: b}}\n"
)


WIDE = "stages: {a: {uses: numbers, matrix: {count: [1, 2, 3, 4, 5, 6]}}}\n"


ERROR = Message("", "error", {"message": "it broke", "hint": "mend it"})


def error(node: str) -> Message:
    return Message(node, "error", ERROR.data)
