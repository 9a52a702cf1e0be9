"""Whether the process that locked a file or folder still lives: the kernel frees its flock."""

from __future__ import annotations

import _thread
import fcntl
import os
import time

_HEX = frozenset("0123456789abcdef")
_PAUSE = 0.02
"""Seconds between two attempts."""


def is_process_folder(name: str) -> bool:
    """Whether a folder bears a name as processes give their own: ``12345-0123456789ab``."""
    number, _, rest = name.partition("-")
    return number.isdecimal() and len(rest) == 12 and set(rest) <= _HEX


def held(path: str) -> bool:
    """Whether a live process holds a lock on a file or folder."""
    try:
        # A pipe would wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


class Hold:
    """The lock on one folder, until `release` or the end of the process.

    Processes that this one forks are on its side: they take no lock of their own.
    """

    def __init__(self) -> None:
        self._handle = -1
        self._owner = os.getpid()
        self._mutex = _thread.allocate_lock()

    def take(self, folder: str, seconds: float) -> bool:
        """Lock a folder; False while another process has it, after so many seconds at most.

        Raises:
            OSError: it is not there, or was moved away meanwhile.
        """
        if self._owner != os.getpid():
            return True
        limit = time.monotonic() + seconds
        while not self._taken(folder):
            if time.monotonic() >= limit:
                return False
            time.sleep(_PAUSE)
        return True

    def release(self) -> None:
        """Free it, whatever was forked meanwhile still lives; again is no error."""
        if self._owner != os.getpid():
            return
        with self._mutex:
            handle, self._handle = self._handle, -1
            if handle >= 0:
                fcntl.flock(handle, fcntl.LOCK_UN)
                os.close(handle)

    def _taken(self, folder: str) -> bool:
        """One attempt, which costs no time: threads make theirs one after the other."""
        with self._mutex:
            if self._handle >= 0:
                if _is_at(folder, self._handle):
                    return True
                os.close(self._handle)
                self._handle = -1
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
            return _is_at(folder, handle)


def _is_at(folder: str, handle: int) -> bool:
    # Its holder may have moved it away after it was opened here. pathlib takes 3 ms.
    return os.path.samestat(os.stat(folder), os.fstat(handle))  # noqa: PTH116
