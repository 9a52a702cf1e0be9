"""Files that are replaced by one rename; what a killed process left of one goes with the next."""

from __future__ import annotations

import contextlib
import fcntl
import os

_ENDING = ".partial"
_ATTEMPTS = 5


def replace(path: str, body: bytes, beside: str = "") -> None:
    """Replace a file's content, whole or not at all.

    Args:
        path: of the file; its folder is there.
        body: its new content.
        beside: the folder in which it is written first, on the same file system; that of the
            file if left out.

    Raises:
        OSError: the file is as it was.
    """
    folder, _, name = path.rpartition("/")
    clear(beside or folder)
    temporary = f"{beside or folder}/.{name}.{os.urandom(4).hex()}{_ENDING}"
    for attempt in range(_ATTEMPTS):
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            with contextlib.suppress(OSError):
                # Tells others that somebody still writes; not all file systems have locks.
                fcntl.flock(handle, fcntl.LOCK_EX)
            rest = memoryview(body)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.rename(temporary, path)  # noqa: PTH104
            return
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            # Who clears may have seen it before it was locked.
            if not isinstance(error, FileNotFoundError) or attempt == _ATTEMPTS - 1:
                raise
        finally:
            os.close(handle)


def clear(folder: str) -> None:
    """Remove what dead processes left half written in a folder."""
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return
    for name in names:
        if name[0] == "." and name.endswith(_ENDING):
            with contextlib.suppress(OSError):
                handle = os.open(f"{folder}/{name}", os.O_RDWR)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(f"{folder}/{name}")  # noqa: PTH108
                finally:
                    os.close(handle)
