"""A live board of a run in a terminal: every node's state, what runs now, how long it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from edgepipe.events import Event, RunFinished, RunStarted
from edgepipe.report.figures import metric
from edgepipe.report.state import Row, RunState
from edgepipe.report.text import can_show, clean, shorten, width
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
"""Rows that are no node: the head, the counts, the latest warning or wait, and one below the board."""


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
        self._state = RunState(clock())
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
            if self._state.ended is None:
                self._state.ended = self._clock()
        self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._state.take(event, self._clock())
        if isinstance(event, RunStarted):
            self._live.start()
        elif isinstance(event, RunFinished):
            self.close()

    def _render(self) -> RenderableType:
        with self._lock:
            if self._state.ended is not None:
                return Group(*self._summary(self._state.ended))
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
        shown, more = self._state.choose(max(1, self._console.height - FRAME))
        yield self._nodes(shown)
        if more:
            yield Text(more, "dim", no_wrap=True, overflow="ellipsis")
        if "cache" in self._state.waits and "cache" not in self._state.rows:
            yield Text(self._state.waits["cache"], "dim", no_wrap=True, overflow="ellipsis")
        elif self._state.warnings:
            node, message = self._state.warnings[-1]
            count = (
                f" ({len(self._state.warnings)} warnings)" if len(self._state.warnings) > 1 else ""
            )
            text = f"! {node}: {message}{count}"
            yield Text(text, "yellow", no_wrap=True, overflow="ellipsis")

    def _head(self) -> RenderableType:
        done, total = self._state.done(), len(self._state.rows)
        elapsed = clock_time(self._clock() - self._state.begun)
        left = self._state.left(self._clock())
        times = elapsed if left is None else f"{elapsed}, about {clock_time(left)} left"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=max(total, 1), completed=done)
        name = Text(shorten(self._state.title, self._console.width // 3), "bold")
        grid.add_row(name, bar, Text(f"{done}/{total}  {times}"))
        return grid

    def _counts(self) -> Text:
        states = [row.state for row in self._state.rows.values()]
        parts = [
            (f"{self._signs[state]} {states.count(state)} {WORDS.get(state, state)}", style)
            for state, style in STYLES.items()
            if state in states
        ]
        pairs = [pair for part in parts for pair in (("  ", ""), part)][1:]
        return Text.assemble(*pairs, no_wrap=True, overflow="ellipsis")

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
            left = row.time_left(self._clock())
            elapsed = clock_time(self._clock() - row.begun)
            return elapsed if left is None else f"{clock_time(left)} left"
        if row.result:
            return "" if row.state == "skipped" else seconds(row.result.seconds)
        return f"~ {seconds(row.estimate)}" if row.estimate else ""

    def _detail(self, row: Row) -> Text:
        result = row.result
        if result is None:
            text, style = self._state.waits.get(row.name, row.kind), "dim"
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
        style = {"done": "bold green", "interrupted": "bold yellow"}.get(
            self._state.status, "bold red"
        )
        words = (
            f"{self._state.title}  {self._state.status} after {seconds(ended - self._state.begun)}"
        )
        yield Text(words, style)
        yield self._counts()
        for row in self._state.rows.values():
            if row.state == "running":
                share = "" if row.share is None else f" at {100 * row.share:.0f} %"
                yield Text(f"{self._signs['running']} {row.name} was stopped{share}", "yellow")
            if row.result and row.state == "failed":
                yield Text(f"{self._signs['failed']} {row.name} failed", "bold red")
                error = clean(row.result.error, lines=True)
                yield Text("\n".join(f"    {line}" for line in error.splitlines()))
                if row.log:
                    yield Text(f"    log: {clean(row.log)}", "dim")
        for node, message in dict.fromkeys(self._state.warnings):
            yield Text(f"! {node}: {message}", "yellow")


def abbreviate(number: str) -> str:
    """A number's words for a narrow terminal."""
    return number.replace("accuracy", "acc").replace("images/s", "img/s")


def clock_time(value: float) -> str:
    """Seconds as ``0:07``, ``12:30`` or ``1:02:03``."""
    minutes, rest = divmod(max(0, round(value)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
