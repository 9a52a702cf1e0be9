"""What soaks have seen: kills, checks, and what was wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Figures:
    """What all soaks together have seen; `lock` guards it."""

    wanted: int
    deadline: float
    kills: int = 0
    cycles: int = 0
    runs_checked: int = 0
    outputs_checked: int = 0
    wrong: int = 0
    by_hand: int = 0
    leaked: int = 0
    damaged: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    victims: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    """What each wrong thing was, with the output of the command."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def over(self) -> bool:
        """Whether there were enough kills, or time is up."""
        return self.kills >= self.wanted or time.monotonic() > self.deadline

    def fail(self, what: str, detail: str, output: str = "") -> None:
        """Count a failure of a kind, and keep what is known of it."""
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)
            self.failures.append({"what": what, "detail": detail, "output": output[-4000:]})
            print(f"{what}: {detail}\n{output[-4000:]}", flush=True)

    def as_json(self) -> dict[str, Any]:
        """All that was seen."""
        hidden = {"wanted", "deadline", "lock"}
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.cycles} cycles, {self.runs_checked} runs checked "
            f"({self.outputs_checked} outputs): {self.wrong} wrong, {self.by_hand} by hand, "
            f"{self.leaked} leaked, {self.damaged} damaged"
        )
