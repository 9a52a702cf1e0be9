"""What Linux says about processors and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds() -> dict[int, float]:
    """How long each processor has been busy since boot (proc(5), ``/proc/stat``)."""
    busy = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _, _, irq, softirq, steal, *_ = map(int, ticks)
            busy[int(name[3:])] = (user + nice + system + irq + softirq + steal) / _TICK
    return busy


def quiet_cpus(count: int, allowed: Collection[int], watch: float = 0.2) -> list[int]:
    """The processors that others use least, on different cores.

    Args:
        count: how many; fewer come back where there are fewer.
        allowed: to choose from.
        watch: seconds to look for who is busy.
    """
    if count >= len(allowed):
        return sorted(allowed)
    before = busy_seconds()
    time.sleep(watch)
    after = busy_seconds()
    quietest = sorted(allowed, key=lambda cpu: (after[cpu] - before[cpu], cpu))
    first_of_core: dict[str, int] = {}
    for cpu in quietest:
        first_of_core.setdefault(_core(cpu), cpu)
    alone = list(first_of_core.values())
    return sorted([*alone, *(cpu for cpu in quietest if cpu not in alone)][:count])


def _core(cpu: int) -> str:
    """Names the core that a processor is a hardware thread of."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text().strip() if path.is_file() else str(cpu)


def peak_memory() -> int:
    """Bytes: this process's most resident memory so far (``VmHWM``)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def reset_peak_memory() -> None:
    """Let `peak_memory` count from now; without effect where the kernel does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        # The peak before then stands: a difference of peaks is too small rather than wrong.
        return
