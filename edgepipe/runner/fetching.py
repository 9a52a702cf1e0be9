"""Brings results from the team's store while the run goes on."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from edgepipe.remote import Remote
from edgepipe.remote.asking import Threads
from edgepipe.store import Store
from edgepipe.units import show

_AT_ONCE = 4
"""Batches; of each, many objects come at once."""


class Fetcher:
    """Fetches in threads of its own, each into a `Store` of its own over the run's folder.

    Results are told one by one: what is large keeps nobody waiting for what is small.
    """

    def __init__(self, remote: Remote, store: Store) -> None:
        self._remote = remote
        self._store = store
        self._threads = Threads(_AT_ONCE, "edgepipe-fetch")
        self._stores: queue.SimpleQueue[Store] = queue.SimpleQueue()
        self._over: queue.SimpleQueue[tuple[str, dict[str, str]] | BaseException] = (
            queue.SimpleQueue()
        )
        self._asked: dict[str, float] = {}
        """When each key was asked for that is not over."""

    def __bool__(self) -> bool:
        """Whether something is on its way."""
        return bool(self._asked)

    def ask(self, keys: Iterable[str]) -> None:
        """Begin to fetch results."""
        new = [key for key in dict.fromkeys(keys) if key not in self._asked]
        if new:
            self._asked |= dict.fromkeys(new, time.monotonic())
            self._threads.start(lambda: self._fetch(new))

    def over(self, seconds: float) -> list[str]:
        """Keys that are over, come or not, once there is one or the time is up.

        The run's store then knows what of the objects was checked on the way.
        """
        found: list[str] = []
        with suppress(queue.Empty):
            while True:
                told = self._over.get(timeout=0 if found else seconds)
                if isinstance(told, BaseException):
                    raise told
                key, learned = told
                self._store.learn(learned)
                if self._asked.pop(key, None) is not None:
                    found.append(key)
        return found

    def slow(self, seconds: float) -> Iterator[str]:
        """Keys that have been on their way for as long as this."""
        now = time.monotonic()
        return (key for key, asked in self._asked.items() if now - asked >= seconds)

    def text(self) -> str:
        """How far it is: ``fetched from s3://team/cache, 34 of 200 MB``."""
        flow = self._remote.flow
        if flow.received >= flow.expected:
            return f"looked for at {self._remote.shown}"
        of = f"{show(flow.received, 'bytes')} of {show(flow.expected, 'bytes')}"
        return f"fetched from {self._remote.shown}, {of}"

    def close(self) -> None:
        """Let go of what the threads used; what still goes on is given up."""
        with suppress(queue.Empty):
            while True:
                self._stores.get_nowait().close()

    def _fetch(self, keys: list[str]) -> None:
        try:
            store = self._stores.get_nowait()
        except queue.Empty:
            store = Store(self._store.root, self._store.base)
        store.on_damage = self._store.on_damage
        left = dict.fromkeys(keys)

        def tell(key: str) -> None:
            if left.pop(key, True) is None:
                self._over.put((key, store.learned()))

        try:
            self._remote.fetch_many(keys, store, tell)
            for key in list(left):
                tell(key)
        except BaseException as error:
            self._over.put(error)
        finally:
            self._stores.put(store)
