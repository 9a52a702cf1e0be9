"""A run as plain lines, for a log: stable words at stable places, no colors, no cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TextIO

from edgepipe.events import (
    Event,
    GateChecked,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeRetried,
    NodeStarted,
    NodeWaits,
    RunFinished,
    RunStarted,
)
from edgepipe.report.figures import gate_values, headline, label, unit_of
from edgepipe.report.text import can_show, clean, pad, to_ascii, width
from edgepipe.results import NodeResult
from edgepipe.units import seconds, show

EVERY = 10.0
"""Seconds between two lines about the progress of one node."""


class Lines:
    """A listener that writes ``TIME  WORD  NODE  …`` for each thing that happens.

    The words are run, start, waits, retry, at, done, cached, failed, skipped, warning, gate and end; a text of
    several lines repeats time, word and node on each of them.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._begun = clock()
        self._shown: dict[str, float] = {}
        self._room = 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Every line is written at once, so that there is nothing left to do."""

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                total = len(event.nodes)
                self._room = min(24, max(map(width, map(clean, event.nodes)), default=0))
                what = f"{event.run_id}, {total} node{'s' * (total != 1)}, {event.jobs} at once"
                self._write("run", event.pipeline, what)
            case NodeStarted():
                self._shown[event.node] = self._clock()
                self._write("start", event.node, event.reason)
            case NodeWaits():
                self._write("waits", event.node, event.reason)
            case NodeRetried():
                self._write(
                    "retry", event.node, f"{event.attempt} of {event.retries}: {event.message}"
                )
            case NodeProgress():
                self._progress(event)
            case NodeLog(warning=True):
                self._write("warning", event.node, event.message)
            case NodeFinished():
                self._finished(event.result, event.log_path)
            case GateChecked():
                held = "holds" if event.result.passed else "fails"
                self._write("gate", held, f"{event.result.text}: {gate_values(event.result)}")
            case RunFinished():
                parts = "; ".join(headline(event.result))
                self._write("end", event.result.pipeline, f"{parts}; see {event.folder}")

    def _progress(self, event: NodeProgress) -> None:
        now = self._clock()
        if now - self._shown.get(event.node, now - EVERY) < EVERY:
            return
        self._shown[event.node] = now
        share = [f"{100 * event.done / event.total:.0f} %"] if event.total > 0 else []
        self._write("at", event.node, " ".join([*share, *numbers(event.numbers)]))

    def _finished(self, node: NodeResult, log_path: str) -> None:
        if node.status == "failed":
            text = f"after {seconds(node.seconds)}\n{node.error}".rstrip()
            self._write("failed", node.name, f"{text}\nlog: {log_path}" if log_path else text)
        elif node.status == "skipped":
            self._write("skipped", node.name, node.reason)
        elif node.status == "cached":
            self._write("cached", node.name, f"saves {seconds(node.seconds)}")
        else:
            self._write("done", node.name, f"in {seconds(node.seconds)}")

    def _write(self, word: str, subject: str, text: str) -> None:
        head = f"{self._clock() - self._begun:8.1f}  {word:<7}  {pad(clean(subject), self._room, False)}"
        lines = clean(text, lines=True).split("\n")
        block = "".join(f"{head}  {line}".rstrip() + "\n" for line in lines)
        self._stream.write(block if can_show(self._stream, block) else to_ascii(block))
        self._stream.flush()


def numbers(values: Mapping[str, float]) -> list[str]:
    """What a running node tells of itself: ``loss 0.213``, ``accuracy 97.10 %``, ``1770 images/s``."""
    return [
        f"{value:.0f} {name.removesuffix('_per_second')}/s"
        if name.endswith("_per_second")
        else f"{label(name)} {show(value, unit_of(name, {}))}"
        for name, value in values.items()
    ]
