"""What a job takes of its process: time, processor time, and memory at its peak."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from pathlib import Path


class Usage:
    """What was taken since this was made."""

    def __init__(self) -> None:
        with suppress(OSError):
            # The kernel counts the peak anew, where it can (Linux).
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._started, self._cpu = time.perf_counter(), _cpu_seconds()

    def facts(self) -> dict[str, float]:
        """Seconds, seconds of processors with those of children, and bytes of resident memory."""
        return {
            "seconds": time.perf_counter() - self._started,
            "cpu_seconds": _cpu_seconds() - self._cpu,
            "peak_memory": _peak(),
        }


def _cpu_seconds() -> float:
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def _peak() -> int:
    """Bytes of resident memory at the peak since the last reset."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
