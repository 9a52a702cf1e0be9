"""What comes of one stage that runs in the process of the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepipe.stage import Artifact, Metrics


@dataclass(frozen=True)
class Ran:
    """What a stage wrote, and what it told."""

    outputs: dict[str, Path]
    types: Mapping[str, type[Artifact]]
    events: list[tuple[str, dict[str, Any]]]

    def load(self, port: str) -> Any:
        return self.types[port].load(self.outputs[port])

    @property
    def metrics(self) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for port, type_ in self.types.items():
            if issubclass(type_, Metrics) and port in self.outputs:
                numbers |= type_.numbers(self.outputs[port])
        return numbers


RunStage = Callable[..., Ran]
