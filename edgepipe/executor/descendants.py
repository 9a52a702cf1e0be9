"""Signals to a process and to all that came of it, also where a child has a session of its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def signal_all(pid: int, number: int) -> None:
    """Send a signal to the leader of a process group, its group, and its other descendants."""
    # Before their parents, which may be the caller: nothing would lead to them any more.
    for one in descendants(pid):
        if _group(one) != pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one, number)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs; only of those that still live, on Linux."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(text) for text in path.read_text(encoding="ascii").split()]
                found += children
                waiting += children
    return found


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return 0
