"""What the stages of the tests have in common: an artifact type, and a trace of what ran."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from _arithmetic import times

from edgepipe.stage import Artifact, Context


class Numbers(Artifact):
    """A list of numbers."""

    payload = "numbers.json"

    @classmethod
    def save(cls, path: Path, value: Any) -> None:
        (path / "numbers.json").write_text(json.dumps(value))

    @classmethod
    def load(cls, path: Path) -> Any:
        return json.loads((path / "numbers.json").read_text())


class FewNumbers(Numbers):
    """Numbers, but not many."""


class Words(Artifact):
    """A text."""

    @classmethod
    def save(cls, path: Path, value: Any) -> None:
        (path / "words.txt").write_text(value)

    @classmethod
    def load(cls, path: Path) -> Any:
        return (path / "words.txt").read_text()


def scaled(numbers: list[float], factor: float) -> list[float]:
    return [times(number, factor) for number in numbers]


def trace(ctx: Context, what: str) -> None:
    """A line in the project's trace: what happened, to whom, when, in which process."""
    line = json.dumps({"what": what, "node": ctx.node, "time": time.time(), "pid": os.getpid()})
    with (ctx.project / "trace.jsonl").open("a") as file:
        file.write(line + "\n")
