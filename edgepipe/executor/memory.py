"""What Linux says of processes and their memory; elsewhere nothing is known."""

from __future__ import annotations

import os

BLOATED = 4 << 30
"""Bytes of resident memory with which an idle worker is not kept."""

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident(pid: int) -> int:
    """Bytes of a process's resident memory (proc(5), ``statm``); 0 where it is not known."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123  called often
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def killings() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    try:
        with open("/proc/vmstat", "rb") as file:  # noqa: PTH123  called often
            _, _, rest = file.read().partition(b"\noom_kill ")
            return int(rest.split(b"\n", 1)[0] or 0)
    except (OSError, ValueError):
        return 0
