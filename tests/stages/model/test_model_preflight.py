"""model.python and model.checkpoint: what is wrong is found before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from user_networks import EXPLICIT

from edgepipe.stage import Stage
from edgepipe_stages.model.checkpoint import Checkpoint
from edgepipe_stages.model.python import PythonModel


@pytest.mark.parametrize(
    ("stage", "params", "connected", "expected"),
    [
        (PythonModel, {"code": "a.py:B"}, {"data"}, []),
        (PythonModel, {"code": "a.py:B"}, set(), [""]),
        (PythonModel, {"code": "a.py:B", "interface": EXPLICIT}, {"data"}, ["interface"]),
        (
            PythonModel,
            {
                "code": "a.py:B",
                "interface": {"image_size": [0, 9], "classes": ["a", "b"], "mean": [0, 0]},
            },
            set(),
            ["interface.image_size", "interface.mean"],
        ),
        (Checkpoint, {"model": {"arch": "resnet9"}, "weights": "w.pt"}, {"data"}, ["model.arch"]),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(
    stage: type[Stage], params: dict[str, Any], connected: set[str], expected: list[str]
) -> None:
    import json

    found = stage.model_validate_json(json.dumps(params), strict=True).preflight(
        frozenset(connected)
    )
    assert [parameter for parameter, _, _ in found] == expected
