"""What moves between here and a remote: a transfer that stands still is told from a slow one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from edgepipe.remote.transport import UnavailableError

SLOWEST = 8 << 10
"""Bytes per second, of all transfers together, below which a line counts as one that stands still."""


class Line:
    """All that moves between here and one remote; used by several threads."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.enough = SLOWEST * timeout
        """Bytes that have to move within ``timeout`` seconds."""
        self.moved = 0
        self.got_on = 0.0
        """When a transfer last got on, by time.monotonic()."""
        self.lock = threading.Lock()


class Transfer:
    """One request with its answer. Somebody has to call `check` a few times per ``timeout``.

    It gets on as long as it moves at all and the line moves `SLOWEST`: where many share a thin
    line, each of them is slow, and none stands still. A small one has to end within ``timeout``.
    """

    def __init__(self, line: Line, *, small: bool = False) -> None:
        self.checked = time.monotonic()
        """When `check` was last called."""
        self._line = line
        self._small = small
        self._moved = 0
        self._sending: dict[Callable[[], int], int] = {}
        self._since = self.checked
        self._moved_then = 0
        self._line_then = line.moved

    def moved(self, count: int) -> None:
        """So many bytes came."""
        with self._line.lock:
            self._moved += count
            self._line.moved += count

    @contextmanager
    def sending(self, sent: Callable[[], int]) -> Iterator[None]:
        """While inside, bytes go as well; ``sent`` says how many went so far."""
        self._sending[sent] = 0
        try:
            yield
        finally:
            self._count(sent)
            del self._sending[sent]

    def check(self) -> None:
        """Raises UnavailableError if it stands still."""
        for sent in list(self._sending):
            self._count(sent)
        line = self._line
        now = self.checked = time.monotonic()
        with line.lock:
            enough = line.moved - self._line_then >= line.enough
            if enough and self._moved > self._moved_then and not self._small:
                self._since = line.got_on = now
                self._moved_then, self._line_then = self._moved, line.moved
        if now - self._since >= line.timeout:
            answered = self._moved and not self._small
            what = "it stood still for" if answered else "no answer within"
            raise UnavailableError(f"{what} {line.timeout:g} s", again=True)

    def _count(self, sent: Callable[[], int]) -> None:
        # Estimates from the kernel may go back a little.
        now = max(sent(), before := self._sending[sent])
        self._sending[sent] = now
        self.moved(now - before)


current: ContextVar[Transfer] = ContextVar("current")
"""What the requests of a task belong to."""
