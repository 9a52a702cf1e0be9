"""How far a run is, from its events: what a board shows. Knows no screen."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgepipe.events import (
    Event,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeRetried,
    NodeStarted,
    NodeWaits,
    RunFinished,
    RunStarted,
)
from edgepipe.report.lines import numbers
from edgepipe.report.text import clean
from edgepipe.results import NodeResult

STATES = ("waiting", "running", "ran", "cached", "failed", "skipped")


@dataclass
class Row:
    """What the board knows of a node."""

    name: str
    kind: str
    estimate: float | None
    state: str = "waiting"
    begun: float = 0.0
    first: tuple[float, float] | None = None
    """Time and place of its first progress: what came before was preparation."""
    share: float | None = None
    left: float | None = None
    numbers: list[str] = field(default_factory=list)
    result: NodeResult | None = None
    log: str = ""

    def time_left(self, now: float) -> float | None:
        """Seconds, by its progress or else by what it took last time; None where neither is known."""
        if self.left is not None:
            return self.left
        return None if self.estimate is None else max(0.0, self.estimate - (now - self.begun))


@dataclass
class RunState:
    """A run so far. Names and texts are free of control characters; times are a clock's."""

    begun: float
    title: str = ""
    jobs: int = 1
    rows: dict[str, Row] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    """Names of the nodes that ended, in that order."""
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """Node and text."""
    waits: dict[str, str] = field(default_factory=dict)
    """For what a node waits that could be started, or the run itself, which is called ``cache``."""
    ended: float | None = None
    status: str = "interrupted"

    def take(self, event: Event, now: float) -> None:
        """Let an event change the state."""
        match event:
            case RunStarted():
                self.title, self.jobs, self.begun = clean(event.pipeline), event.jobs, now
                self.rows = {
                    name: Row(clean(name), clean(kind), event.estimates.get(name))
                    for name, kind in event.nodes.items()
                }
            case NodeWaits():
                self.waits[clean(event.node)] = clean(event.reason)
            case NodeStarted():
                self.waits.pop(clean(event.node), None)
                row = self._row(event.node)
                row.state, row.begun = "running", now
            case NodeRetried():
                row = self._row(event.node)
                row.state, row.share, row.left, row.first, row.numbers = (
                    "waiting",
                    None,
                    None,
                    None,
                    [],
                )
                text = (
                    f"failed, is tried again ({event.attempt} of {event.retries}): {event.message}"
                )
                self.warnings.append((clean(event.node), clean(text)))
            case NodeProgress() if event.total > 0:
                row = self._row(event.node)
                row.share = min(1.0, max(0.0, event.done / event.total))
                row.numbers = [clean(n) for n in numbers(event.numbers)]
                begun, done = row.first = row.first or (now, event.done)
                if event.done > done:
                    rate = (now - begun) / (event.done - done)
                    row.left = max(0.0, rate * (event.total - event.done))
            case NodeLog(warning=True):
                self.warnings.append((clean(event.node), clean(event.message)))
            case NodeFinished():
                row = self._row(event.result.name)
                row.state, row.result, row.log = event.result.status, event.result, event.log_path
                self.finished.append(event.result.name)
            case RunFinished():
                self.status, self.ended = event.result.status, now

    def _row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(clean(name), "", None))

    def done(self) -> int:
        """How many nodes have ended."""
        return sum(row.state not in ("waiting", "running") for row in self.rows.values())

    def left(self, now: float) -> float | None:
        """Seconds until the end, from what nodes took last time; None where one never ran."""
        rest = [row.time_left(now) for row in self.rows.values() if row.state == "running"]
        rest += [row.estimate for row in self.rows.values() if row.state == "waiting"]
        known = [left for left in rest if left is not None]
        if not rest or len(known) < len(rest):
            return None
        return max(max(known), sum(known) / max(1, self.jobs))

    def choose(self, room: int) -> tuple[list[Row], str]:
        """The nodes that there is room for, in the order of the graph, and a word on the others.

        Failures and running nodes come first, then what finished last and what comes next.
        """
        if len(self.rows) <= room:
            return list(self.rows.values()), ""
        room -= room > 1
        by_state = {s: [n for n, r in self.rows.items() if r.state == s] for s in STATES}
        recent = [n for n in reversed(self.finished) if self.rows[n].state == "ran"]
        failed = by_state["failed"]
        chosen = [
            *failed[-max(1, room // 3) :],
            *by_state["running"],
            *recent[: room // 3],
            *by_state["waiting"],
            *recent[room // 3 :],
        ]
        names = set(chosen[:room])
        more = f"  and {len(self.rows) - len(names)} more nodes" if room > 1 else ""
        return [row for name, row in self.rows.items() if name in names], more
