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
        self._begun = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, watch: Watch, tell: Tell) -> None:
        """A job begins."""
        self._job = watch, tell
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._begun.set()

    def end(self) -> None:
        """No job runs."""
        self._job = None
        self._begun.clear()

    def _run(self) -> None:
        while True:
            self._begun.wait()
            job, pause, told = self._job, _FIRST_SECONDS, list[str]()
            while job is not None:
                time.sleep(pause)
                if self._job is not job:
                    break
                watch, tell = job
                begun = time.monotonic()
                watch.vouch()
                if watch.vouched != told:
                    told = watch.vouched
                    tell(told)
                if watch.settled:
                    self._begun.clear()
                    break
                took = time.monotonic() - begun
                pause = max(min(2 * pause, _MOST_SECONDS), _SHARE * took)
