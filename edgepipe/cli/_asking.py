"""Asking the team's store what it has, which goes on before there is a run that could tell of it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_PATIENCE = 1.0
"""Seconds, of all questions together, after which a person wonders."""


class Asking:
    """`Remote.records`, and one line on standard error where that takes long."""

    def __init__(self, remote: Any) -> None:
        self._remote = remote
        self._left = _PATIENCE
        self._said = False

    def __call__(self, keys: Iterable[str]) -> Mapping[str, Any]:
        if self._said:
            return self._records(keys)
        timer = threading.Timer(self._left, self._say)
        timer.daemon = True
        began = time.monotonic()
        timer.start()
        try:
            return self._records(keys)
        finally:
            timer.cancel()
            self._left = max(0.0, self._left - (time.monotonic() - began))

    def _records(self, keys: Iterable[str]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._remote.records(keys)
        return found

    def _say(self) -> None:
        self._said = True
        print(f"asking {self._remote.shown} for what it has ...", file=sys.stderr, flush=True)


def asking(remote: Any) -> Callable[[Iterable[str]], Mapping[str, Any]] | None:
    """What a planner asks; None where there is no remote."""
    return Asking(remote) if remote else None
