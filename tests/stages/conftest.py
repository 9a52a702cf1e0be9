"""Runs one stage in this process, on artifacts in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stage_runs import Ran, RunStage

from edgepipe.stage import Context, Stage, ports_of


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
