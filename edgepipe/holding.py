"""Whether the process that locked a file or folder still lives: the kernel frees its flock."""

from __future__ import annotations

import fcntl
import os
import time

_PAUSE = 0.02
"""Seconds between two attempts."""


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

    def take(self, folder: str, seconds: float) -> bool:
        """Lock a folder; False while another process has it, after so many seconds at most.

        Raises:
            OSError: it is not there, or was moved away meanwhile.
        """
        if self._owner != os.getpid():
            return True
        limit = time.monotonic() + seconds
        while self._handle < 0 or not os.path.samestat(
            os.stat(folder),  # noqa: PTH116  pathlib takes 3 ms
            os.fstat(self._handle),
        ):
            self.release()
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                while not _locked(handle):
                    if time.monotonic() >= limit:
                        os.close(handle)
                        return False
                    time.sleep(_PAUSE)
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
        return True

    def release(self) -> None:
        """Free it, also for processes that were forked meanwhile; again is no error."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
