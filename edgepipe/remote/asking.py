"""Asking a remote without ever waiting long for it: threads, another try, and when to give up."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from edgepipe.remote.transport import LeftError, UnavailableError, UselessError

T = TypeVar("T")
A = TypeVar("A")
_FAILURES = 3
_TRIES = 3
_FIRST_PAUSE = 0.1


class Breaker:
    """Opens after three failures in a row, or once failures have cost ``patience`` seconds.

    Args:
        patience: seconds.
        got_on: says when anything last got on, by time.monotonic(); time until then is not lost.
    """

    def __init__(self, patience: float, got_on: Callable[[], float] = lambda: 0.0) -> None:
        self.patience = patience
        self._got_on = got_on
        self.reason = ""
        """Why it is open; empty while it is not."""
        self.failures = 0
        self.last = ""
        self._in_a_row = 0
        self._lost = 0.0
        self._lock = threading.Lock()
        self.on_open: Callable[[str], None] = lambda reason: None

    def open(self, reason: str) -> None:
        """Stop asking, for a reason."""
        with self._lock:
            first, self.reason = not self.reason, self.reason or reason
        if first:
            self.on_open(reason)

    def ask(self, request: Callable[[], T]) -> T:
        """Make a request, a few times where that may help. Raises UnavailableError."""
        for attempt in range(1, _TRIES + 1):
            if self.reason:
                raise UnavailableError(self.reason)
            began = time.monotonic()
            try:
                result = request()
            except LeftError:
                raise
            except UnavailableError as error:
                lost = time.monotonic() - max(began, self._got_on())
                if error.again and attempt < _TRIES and self._spend(lost):
                    pause = _FIRST_PAUSE * 4**attempt * random.random()
                    time.sleep(min(pause, self.patience / 10))
                    continue
                self.failed(lost, str(error))
                if isinstance(error, UselessError):
                    self.open(str(error))
                raise
            with self._lock:
                self._in_a_row = 0
            return result
        raise AssertionError("unreachable")

    def _spend(self, seconds: float) -> bool:
        """Whether there is patience for another try."""
        with self._lock:
            self._lost += seconds
            return self._lost < self.patience

    def failed(self, seconds: float, reason: str) -> None:
        """Count a failure that cost so many seconds."""
        with self._lock:
            self.failures += 1
            self.last = reason
            self._in_a_row += 1
            self._lost += seconds
            given_up = self._in_a_row >= _FAILURES or self._lost >= self.patience
        if given_up:
            self.open(reason)


class Threads:
    """A few threads that take work in order. They are daemons: what hangs keeps nobody waiting."""

    def __init__(self, count: int, name: str) -> None:
        self.count = count
        self.name = name
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._started = 0
        self._idle = 0
        self._lock = threading.Lock()

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Have something done."""
        future: Future[T] = Future()
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._started < self.count:
                self._started += 1
                threading.Thread(target=self._run, name=self.name, daemon=True).start()
        self._work.put((future, work))
        return future

    def each(self, work: Callable[[A], T], items: Iterable[A]) -> list[tuple[A, Future[T]]]:
        """Have it done for each item; the futures are in the items' order."""
        return [(item, self.start(lambda item=item: work(item))) for item in items]  # type: ignore[misc]

    def _run(self) -> None:
        while True:
            future, work = self._work.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:
                    future.set_exception(error)
            del future, work
            with self._lock:
                self._idle += 1
