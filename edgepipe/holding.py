"""Whether the process that locked a file or folder still lives: the kernel frees its flock."""

import fcntl
import os


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
