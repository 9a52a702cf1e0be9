"""Runs one stage in this process, on artifacts in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgepipe.stage import Artifact, Context, Metrics, Stage, ports_of


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


@pytest.fixture(scope="session")
def run_stage(tmp_path_factory: pytest.TempPathFactory) -> RunStage:
    def run(
        stage: type[Stage],
        params: Mapping[str, Any] | None = None,
        *,
        seed: int = 7,
        project: Path | None = None,
        **inputs: Path,
    ) -> Ran:
        folder = tmp_path_factory.mktemp("stage")
        outputs = {port: folder / port for port in stage.outputs}
        scratch = folder / "_scratch"
        for path in (*outputs.values(), scratch):
            path.mkdir()
        events: list[tuple[str, dict[str, Any]]] = []
        context = Context(
            node="test",
            seed=seed,
            threads=1,
            scratch_path=scratch,
            project=project or folder,
            input_types={name: port.type for name, port in ports_of(stage).items()},
            output_types=stage.outputs,
            input_paths=inputs,
            output_paths=outputs,
            report=lambda name, data: events.append((name, data)),
        )
        text = json.dumps(dict(params or {}), default=str)
        stage.model_validate_json(text, strict=True).run(context)
        for port, type_ in stage.outputs.items():
            type_.check(outputs[port])
        return Ran(outputs, dict(stage.outputs), events)

    return run
