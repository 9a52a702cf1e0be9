"""A process's own folder for what is not finished; a lock tells whether it is still at work."""

from __future__ import annotations

import _thread
import atexit
import contextlib
import fcntl
import itertools
import os

from edgepipe.holding import held, is_process_folder
from edgepipe.store.files import remove, size_of

TMP = "tmp"
"""The folder of all sessions, below a store's root."""


class Session:
    """A folder below `TMP` that is locked while the process lives; made when first needed."""

    def __init__(self, tmp: str) -> None:
        self.tmp = tmp
        self._folder = ""
        self._handle = -1
        self._owner = 0
        self._numbers = itertools.count()
        self._mutex = _thread.allocate_lock()

    def path(self) -> str:
        """A new path, for a file or folder that nobody else knows of. Raises OSError."""
        if self._owner != os.getpid():
            self.check()
        return f"{self._folder}/{next(self._numbers)}"

    def check(self) -> None:
        """Make the folder anew where somebody removed it. Raises OSError."""
        with self._mutex:
            if self._owner != os.getpid() or not os.path.isdir(self._folder):
                self._open()

    def close(self) -> None:
        """Remove the folder with all that is left in it."""
        if self._owner == os.getpid() and self._folder:
            remove(self._folder)
            os.close(self._handle)
            self._folder, self._handle, self._owner = "", -1, 0

    def _open(self) -> None:
        os.makedirs(self.tmp, exist_ok=True)
        if self._owner == os.getpid():
            os.close(self._handle)
        elif self._owner == 0:
            atexit.register(self.close)
        while True:
            folder = f"{self.tmp}/{os.getpid()}-{os.urandom(6).hex()}"
            os.mkdir(folder)
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # Who cleans up may have taken it for litter before it was locked.
                    if os.path.isdir(folder):
                        self._folder, self._handle, self._owner = folder, handle, os.getpid()
                        return
                except BlockingIOError:
                    pass
                except BaseException:
                    os.close(handle)
                    raise
                os.close(handle)


def remove_litter(tmp: str, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove what dead processes left in ``tmp``; how many entries, and bytes.

    What bears another name is somebody else's, as where a cache is in a folder of other things.
    """
    count = size = 0
    try:
        names = os.listdir(tmp)
    except OSError:
        return 0, 0
    for name in names:
        path = f"{tmp}/{name}"
        if not is_process_folder(name) or held(path):
            continue
        count += 1
        size += size_of(path) if dry_run else _remove_dead(path)
    return count, size


def _remove_dead(path: str) -> int:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return remove(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return remove(path)
    except BlockingIOError:
        return 0
    finally:
        os.close(handle)
