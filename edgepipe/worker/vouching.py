"""Vouches, beside a running stage, for the code that it imports late; see `edgepipe.watch`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgepipe.watch import Watch

_FIRST_SECONDS = 0.1
_MOST_SECONDS = 1.0
_SHARE = 50
"""Between two looks, at least so many times what one takes."""

Tell = Callable[[list[str]], None]
"""Is given the files that are beyond doubt, whenever these are others."""


class Vouching:
    """A thread that looks often at the beginning of a job, and then ever more seldom."""

    def __init__(self) -> None:
        self._job: tuple[Watch, Tell] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def begin(self, watch: Watch, tell: Tell) -> None:
        """A job begins."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        with self._changed:
            self._job = watch, tell
            self._changed.notify()

    def end(self) -> None:
        """No job runs."""
        self._job = None

    def _run(self) -> None:
        done: tuple[Watch, Tell] | None = None
        while True:
            with self._changed:
                while (job := self._job) is None or job is done:
                    self._changed.wait()
            self._look(job)
            done = job

    def _look(self, job: tuple[Watch, Tell]) -> None:
        """Until all is beyond doubt, or another job runs, or none."""
        watch, tell = job
        pause, told = _FIRST_SECONDS, list[str]()
        while True:
            time.sleep(pause)
            if self._job is not job:
                return
            begun = time.monotonic()
            watch.vouch()
            if watch.vouched != told:
                told = watch.vouched
                tell(told)
            if watch.settled:
                return
            took = time.monotonic() - begun
            pause = max(min(2 * pause, _MOST_SECONDS), _SHARE * took)
