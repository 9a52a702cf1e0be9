"""A project with a user's networks, and a small data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from stage_runs import RunStage
from user_networks import SOURCE

from edgepipe_stages.data.digits import Digits


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model_python")
    (folder / "mynets.py").write_text(SOURCE)
    return folder


@pytest.fixture(scope="module")
def digits(run_stage: RunStage) -> Path:
    return run_stage(Digits, {"image_size": 16}).outputs["data"]
