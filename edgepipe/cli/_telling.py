"""Who is told of a run while it goes on, and what of that its record keeps."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from edgepipe.events import (
    Event,
    GateChecked,
    Listener,
    NodeFinished,
    NodeLog,
    NodeStarted,
    NodeWaits,
    RunFinished,
    RunStarted,
)
from edgepipe.results import Warned

_GONE = {errno.EPIPE, errno.EIO}
"""A pipe that nobody reads any more, a terminal that was closed."""


class Telling:
    """Passes on what happens, keeps the warnings, and ends the run where nobody reads any more."""

    def __init__(self, *, json: bool, plain: bool) -> None:
        self.warnings: list[Warned] = []
        self._listener, self._close = _listener(json=json, plain=plain)
        self._unread = False
        self._ended = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, NodeLog) and event.warning:
            self.warnings.append(Warned(event.node, event.message))
        if not self._unread:
            try:
                self._listener(event)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                self._unread = True
        if self._unread and not self._ended and _can_end(event):
            # The reader has enough (| head), or its window was closed: as after ^C, nodes end in
            # order and it is recorded.
            self._ended = True
            raise KeyboardInterrupt

    def close(self) -> None:
        """Take down what is drawn. Raises OSError where it cannot be, though somebody sees it."""
        try:
            self._close()
        except OSError as error:
            if error.errno not in _GONE:
                raise


def _can_end(event: Event) -> bool:
    """Whether the run can still be ended, and by this thread: the team's store warns in others."""
    around = isinstance(event, RunStarted | GateChecked | RunFinished)
    # A run that ends already tells of the nodes that it does not come to.
    skipped = isinstance(event, NodeFinished) and event.result.status == "skipped"
    return not (around or skipped) and threading.current_thread() is threading.main_thread()


def _listener(*, json: bool, plain: bool) -> tuple[Listener, Callable[[], None]]:
    """Who shows the run: the board on a terminal, else lines; with --json, lines on stderr."""
    stream = sys.stderr if json else sys.stdout
    if stream.isatty() and not plain and os.environ.get("TERM") != "dumb":
        return _board_when_needed(stream)
    from edgepipe.report.lines import Lines

    return Lines(stream), lambda: None


def _board_when_needed(stream: Any) -> tuple[Listener, Callable[[], None]]:
    """A board that appears with the first node that runs or waits: a run without work needs none."""
    held: list[Event] = []
    board: list[Any] = []

    def listener(event: Event) -> None:
        if not board and isinstance(event, NodeStarted | NodeWaits):
            from edgepipe.report.board import Board

            board.append(Board(stream))
            for earlier in held:
                board[0](earlier)
        if board:
            board[0](event)
        else:
            held.append(event)

    def close() -> None:
        for shown in board:
            shown.close()

    return listener, close
