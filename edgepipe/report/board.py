"""A live board of a run in a terminal: every node's state, what runs now, how long it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from edgepipe.events import (
    Event,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeStarted,
    RunFinished,
    RunStarted,
)
from edgepipe.report.figures import metric
from edgepipe.report.lines import numbers
from edgepipe.report.text import can_show, clean, shorten, width
from edgepipe.results import NodeResult
from edgepipe.units import seconds

STYLES = {
    "waiting": "dim",
    "running": "cyan",
    "ran": "green",
    "cached": "blue",
    "failed": "bold red",
    "skipped": "yellow",
}
SIGNS = {"waiting": "·", "running": "▸", "ran": "✓", "cached": "=", "failed": "✗", "skipped": "–"}
ASCII_SIGNS = {
    "waiting": ".",
    "running": ">",
    "ran": "+",
    "cached": "=",
    "failed": "x",
    "skipped": "-",
}
WORDS = {"ran": "done"}
FRAME = 4
"""Rows that are no node: the head, the counts, the latest warning, and one below the board."""


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


class Board:
    """A listener that keeps a board up to date while a run goes on.

    Use it as a context manager, or call `close`: whichever way the run ends, the terminal keeps
    a summary with every failure and warning.
    """

    def __init__(
        self, target: Console | TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = target if isinstance(target, Console) else Console(file=target)
        self._clock = clock
        self._signs = SIGNS if can_show(self._console.file, "▸✓✗–·") else ASCII_SIGNS
        self._lock = threading.RLock()
        self._rows: dict[str, Row] = {}
        self._finished: list[str] = []
        self._warnings: list[tuple[str, str]] = []
        self._title = ""
        self._jobs = 1
        self._begun = clock()
        self._ended: float | None = None
        self._status = "interrupted"
        self._width = self._console.width
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=8,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the summary on the terminal. Further calls do nothing."""
        with self._lock:
            if self._ended is None:
                self._ended = self._clock()
        self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._take(event)
        if isinstance(event, RunStarted):
            self._live.start()
        elif isinstance(event, RunFinished):
            self.close()

    def _take(self, event: Event) -> None:
        now = self._clock()
        match event:
            case RunStarted():
                self._title, self._jobs, self._begun = clean(event.pipeline), event.jobs, now
                self._rows = {
                    name: Row(clean(name), clean(kind), event.estimates.get(name))
                    for name, kind in event.nodes.items()
                }
            case NodeStarted():
                row = self._row(event.node)
                row.state, row.begun = "running", now
            case NodeProgress() if event.total > 0:
                row = self._row(event.node)
                row.share = min(1.0, max(0.0, event.done / event.total))
                row.numbers = [clean(n) for n in numbers(event.numbers)]
                begun, done = row.first = row.first or (now, event.done)
                if event.done > done:
                    rate = (now - begun) / (event.done - done)
                    row.left = max(0.0, rate * (event.total - event.done))
            case NodeLog(warning=True):
                self._warnings.append((clean(event.node), clean(event.message)))
            case NodeFinished():
                row = self._row(event.result.name)
                row.state, row.result, row.log = event.result.status, event.result, event.log_path
                self._finished.append(event.result.name)
            case RunFinished():
                self._status, self._ended = event.result.status, now

    def _row(self, name: str) -> Row:
        return self._rows.setdefault(name, Row(clean(name), "", None))

    def _render(self) -> RenderableType:
        with self._lock:
            if self._ended is not None:
                return Group(*self._summary(self._ended))
            self._forget_wrapped_lines()
            return Group(*self._frame())

    def _forget_wrapped_lines(self) -> None:
        """Lines that a narrower terminal wrapped take more rows than rich knows: start afresh."""
        narrower = self._console.width < self._width
        self._width = self._console.width
        if narrower:
            self._console.control(Control(ControlType.HOME, ControlType.CLEAR))

    def _frame(self) -> Iterator[RenderableType]:
        yield self._head()
        yield self._counts()
        shown, more = self._choose(max(1, self._console.height - FRAME))
        yield self._nodes(shown)
        if more:
            yield Text(more, "dim", no_wrap=True, overflow="ellipsis")
        if self._warnings:
            node, message = self._warnings[-1]
            count = f" ({len(self._warnings)} warnings)" if len(self._warnings) > 1 else ""
            text = f"! {node}: {message}{count}"
            yield Text(text, "yellow", no_wrap=True, overflow="ellipsis")

    def _head(self) -> RenderableType:
        done, total = self._done(), len(self._rows)
        elapsed = clock_time(self._clock() - self._begun)
        left = self._left()
        times = elapsed if left is None else f"{elapsed}, about {clock_time(left)} left"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=max(total, 1), completed=done)
        name = Text(shorten(self._title, self._console.width // 3), "bold")
        grid.add_row(name, bar, Text(f"{done}/{total}  {times}"))
        return grid

    def _counts(self) -> Text:
        states = [row.state for row in self._rows.values()]
        parts = [
            (f"{self._signs[state]} {states.count(state)} {WORDS.get(state, state)}", style)
            for state, style in STYLES.items()
            if state in states
        ]
        pairs = [pair for part in parts for pair in (("  ", ""), part)][1:]
        return Text.assemble(*pairs, no_wrap=True, overflow="ellipsis")

    def _done(self) -> int:
        return sum(row.state not in ("waiting", "running") for row in self._rows.values())

    def _left(self) -> float | None:
        """Seconds until the end, from what nodes took last time; None where one never ran."""
        rest = [self._node_left(row) for row in self._rows.values() if row.state == "running"]
        rest += [row.estimate for row in self._rows.values() if row.state == "waiting"]
        known = [left for left in rest if left is not None]
        if not rest or len(known) < len(rest):
            return None
        return max(max(known), sum(known) / max(1, self._jobs))

    def _node_left(self, row: Row) -> float | None:
        if row.left is not None:
            return row.left
        if row.estimate is None:
            return None
        return max(0.0, row.estimate - (self._clock() - row.begun))

    def _choose(self, room: int) -> tuple[list[Row], str]:
        """The nodes that there is room for, in the order of the graph, and a word on the others.

        Failures and running nodes come first, then what finished last and what comes next.
        """
        if len(self._rows) <= room:
            return list(self._rows.values()), ""
        room = max(1, room - 1)
        by_state = {s: [n for n, r in self._rows.items() if r.state == s] for s in STYLES}
        recent = [n for n in reversed(self._finished) if self._rows[n].state == "ran"]
        failed = by_state["failed"]
        chosen = [
            *failed[-max(1, room // 3) :],
            *by_state["running"],
            *recent[: room // 3],
            *by_state["waiting"],
            *recent[room // 3 :],
        ]
        names = set(dict.fromkeys(chosen[:room]))
        return [row for name, row in self._rows.items() if name in names], (
            f"  and {len(self._rows) - len(names)} more nodes"
        )

    def _nodes(self, rows: list[Row]) -> Table:
        limit = max(12, self._console.width // 4)
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1, no_wrap=True)
        grid.add_column(
            width=min(limit, max((width(r.name) for r in rows), default=1)), no_wrap=True
        )
        grid.add_column(width=10, no_wrap=True, justify="right")
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for row in rows:
            style = STYLES[row.state]
            name = Text(shorten(row.name, limit), "" if row.state in ("ran", "running") else style)
            grid.add_row(
                Text(self._signs[row.state], style),
                name,
                Text(self._time(row), "" if row.state == "running" else "dim"),
                self._running(row) if row.state == "running" else self._detail(row),
            )
        return grid

    def _time(self, row: Row) -> str:
        if row.state == "running":
            left = self._node_left(row)
            elapsed = clock_time(self._clock() - row.begun)
            return elapsed if left is None else f"{clock_time(left)} left"
        if row.result:
            return "" if row.state == "skipped" else seconds(row.result.seconds)
        return f"~ {seconds(row.estimate)}" if row.estimate else ""

    def _detail(self, row: Row) -> Text:
        result = row.result
        if result is None:
            text, style = row.kind, "dim"
        elif row.state == "failed":
            text, style = clean(result.error.partition("\n")[0]), "red"
        elif row.state == "skipped":
            text, style = clean(result.reason), "dim"
        else:
            accuracy = metric(result, "accuracy")
            text, style = f"accuracy {accuracy}" if accuracy else "", "dim"
        return Text(text, style, no_wrap=True, overflow="ellipsis")

    def _running(self, row: Row) -> Table:
        share = row.share
        if share is None and row.estimate:
            share = min(0.99, (self._clock() - row.begun) / row.estimate)
        roomy = self._console.width >= 100
        words = "  ".join(row.numbers) if roomy else " ".join(map(abbreviate, row.numbers))
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=16 if roomy else 8)
        grid.add_column(width=5, no_wrap=True, justify="right")
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_row(
            ProgressBar(
                completed=100 * (share or 0), pulse=share is None, animation_time=self._clock()
            ),
            Text("" if share is None else f"{100 * share:.0f} %"),
            Text(words or row.kind, "" if words else "dim"),
        )
        return grid

    def _summary(self, ended: float) -> Iterator[RenderableType]:
        style = {"done": "bold green", "interrupted": "bold yellow"}.get(self._status, "bold red")
        words = f"{self._title}  {self._status} after {seconds(ended - self._begun)}"
        yield Text(words, style)
        yield self._counts()
        for row in self._rows.values():
            if row.state == "running":
                share = "" if row.share is None else f" at {100 * row.share:.0f} %"
                yield Text(f"{self._signs['running']} {row.name} was stopped{share}", "yellow")
            if row.result and row.state == "failed":
                yield Text(f"{self._signs['failed']} {row.name} failed", "bold red")
                error = clean(row.result.error, lines=True)
                yield Text("\n".join(f"    {line}" for line in error.splitlines()))
                if row.log:
                    yield Text(f"    log: {clean(row.log)}", "dim")
        for node, message in dict.fromkeys(self._warnings):
            yield Text(f"! {node}: {message}", "yellow")


def abbreviate(number: str) -> str:
    """A number's words for a narrow terminal."""
    return number.replace("accuracy", "acc").replace("images/s", "img/s")


def clock_time(value: float) -> str:
    """Seconds as ``0:07``, ``12:30`` or ``1:02:03``."""
    minutes, rest = divmod(max(0, round(value)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
