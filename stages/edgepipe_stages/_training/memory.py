"""Keeping the memory that one training step frees for the next one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… in malloc.h


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the C library keep freed memory, and give it back at the end.

    By default glibc returns large blocks to the kernel, which clears the same pages again for
    every activation of every step. No effect with another C library.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, 1 << 30)
    library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield
    finally:
        # Once set, glibc adapts neither by itself: these are where it ends up when it does.
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_TRIM_THRESHOLD, 64 << 20)
        library.malloc_trim(0)
