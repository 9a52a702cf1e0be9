"""Locks between processes. All are flocks: the kernel frees those of a process that dies."""

from __future__ import annotations

import _thread
import contextlib
import fcntl
import os
from collections.abc import Iterator
from types import TracebackType


class Lock:
    """A key's lock, held until `release` or the end of the process."""

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        self._handle = handle

    @classmethod
    def take(cls, path: str) -> Lock | None:
        """The lock, or None while another holds it. Raises OSError."""
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                os.makedirs(path.rpartition("/")[0], exist_ok=True)
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            except BaseException:
                os.close(handle)
                raise
            if _is(path, handle):
                return cls(path, handle)
            # Its holder unlinked it after it was opened here: it is nobody's lock.
            os.close(handle)

    def release(self) -> None:
        """Free the lock and remove its file; again is no error."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                if _is(self.path, handle):
                    os.unlink(self.path)
            os.close(handle)

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class NoLock(Lock):
    """What a store that cannot be written gives: nobody publishes there."""

    def __init__(self) -> None:
        super().__init__("", -1)


def _is(path: str, handle: int) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)


class Gate:
    """Shared by those who use the store for a moment, exclusive for who removes from it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._handle: int | None = None
        self._owner = 0
        self._inside: dict[int, int] = {}
        """How deep each thread is in `shared`."""
        self._remover = 0
        self._mutex = _thread.allocate_lock()

    @property
    def is_open(self) -> bool:
        """Whether its file is there and open."""
        return self._handle is not None and self._owner == os.getpid()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Nothing is removed meanwhile. May be nested, and entered by several threads.

        Raises:
            OSError: the file system has no locks.
        """
        me = _thread.get_ident()
        if me == self._remover:
            yield
            return
        with self._mutex:
            if self._owner != os.getpid():
                # A child would share its parent's lock.
                self._handle, self._owner, self._inside = self._open(), os.getpid(), {}
            if not self._inside and self._handle is not None:
                fcntl.flock(self._handle, fcntl.LOCK_SH)
            self._inside[me] = self._inside.get(me, 0) + 1
        try:
            yield
        finally:
            with self._mutex:
                self._inside[me] -= 1
                if not self._inside[me]:
                    del self._inside[me]
                if not self._inside and self._handle is not None:
                    fcntl.flock(self._handle, fcntl.LOCK_UN)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Nobody else is within `shared` or here. Raises OSError where it cannot be written."""
        me = _thread.get_ident()
        if me in self._inside and self._owner == os.getpid():
            raise RuntimeError("who uses the store cannot clear it at the same time")
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._remover = me
            yield
        finally:
            self._remover = 0
            os.close(handle)

    def close(self) -> None:
        """Keep no file open any longer; it can be used again."""
        with self._mutex:
            if not self._inside:
                if self._handle is not None and self._owner == os.getpid():
                    os.close(self._handle)
                self._handle, self._owner = None, 0

    def _open(self) -> int | None:
        for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
            with contextlib.suppress(OSError):
                return os.open(self.path, flags, 0o644)
        # It cannot be written: nobody removes anything from it.
        return None
