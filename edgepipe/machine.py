"""What this machine has to give, and what running nodes have taken of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What all running nodes together may use."""

    cores: int
    """Threads."""
    gpus: int = 0
    memory: int = 0
    """Bytes; 0: not known, and not looked at."""


@dataclass(frozen=True)
class Needs:
    """What one node takes while it runs."""

    threads: int
    gpus: int = 0
    memory: int = 0
    """Bytes; 0: it did not say."""
    alone: bool = False
    """It measures time or memory: nothing else runs meanwhile."""


class Room:
    """What is left of a machine while nodes run."""

    def __init__(self, machine: Machine, jobs: int) -> None:
        """Say what there is.

        Args:
            machine: what there is.
            jobs: nodes that may run at once.
        """
        self.machine = machine
        self.jobs = jobs
        self._taken: dict[str, tuple[Needs, tuple[int, ...]]] = {}

    def fits(self, needs: Needs) -> bool:
        """Whether a node can start now. On an idle machine every node can."""
        if not self._taken:
            return True
        taken = [one for one, _ in self._taken.values()]
        if needs.alone or taken[0].alone or len(taken) >= self.jobs:
            return False
        threads = sum(one.threads for one in taken) + needs.threads
        gpus = sum(one.gpus for one in taken) + needs.gpus
        memory = sum(one.memory for one in taken) + needs.memory
        return (
            threads <= self.machine.cores
            and gpus <= self.machine.gpus
            and (not self.machine.memory or not needs.memory or memory <= self.machine.memory)
        )

    def take(self, node: str, needs: Needs) -> tuple[int, ...]:
        """Give a node what it needs; the numbers of its GPUs."""
        busy = {number for _, numbers in self._taken.values() for number in numbers}
        free = [number for number in range(self.machine.gpus) if number not in busy]
        numbers = tuple(free[: needs.gpus])
        self._taken[node] = needs, numbers
        return numbers

    def give_back(self, node: str) -> None:
        """The node is over."""
        del self._taken[node]


def this_machine() -> Machine:
    """What this process may use: its cores, the GPUs, the memory of its control group."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return Machine(cores, _gpus(), _memory())


def _gpus() -> int:
    """NVIDIA GPUs, without asking a driver: device files, or those that the user chose."""
    chosen, present = os.environ.get("CUDA_VISIBLE_DEVICES"), gpus_present()
    if chosen is None or not present:
        return present
    return len([part for part in chosen.split(",") if part.strip()])


def gpus_present() -> int:
    """How many NVIDIA GPUs the machine has, whoever may use them."""
    return len([p for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)])


def _memory() -> int:
    found = []
    if hasattr(os, "sysconf"):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return min(found, default=0)
