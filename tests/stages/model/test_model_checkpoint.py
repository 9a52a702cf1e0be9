"""model.checkpoint: weights for a known architecture, with its own head or a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import RunStage
from user_networks import checkpoint, load

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import _zoo
from edgepipe_stages.model.checkpoint import Checkpoint


def write_checkpoint(path: Path, classes: int = 10, **changes: Any) -> Path:
    torch.manual_seed(5)
    model = _zoo.create("resnet8", classes=classes, channels=1, unstrided=2)
    torch.save({**model.state_dict(), **changes}, path)
    return path


def test_a_checkpoint_of_a_known_architecture(
    run_stage: RunStage, tmp_path: Path, digits: Path
) -> None:
    ran = run_stage(Checkpoint, checkpoint(write_checkpoint(tmp_path / "w.pt")), data=digits)
    torch.manual_seed(5)
    model = _zoo.create("resnet8", classes=10, channels=1, unstrided=2).eval()
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(load(ran, tmp_path)(x), model(x))


def test_old_files_without_batch_counters(
    run_stage: RunStage, tmp_path: Path, digits: Path
) -> None:
    path = write_checkpoint(tmp_path / "w.pt")
    state = torch.load(path)
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    run_stage(Checkpoint, checkpoint(path), data=digits)


def test_another_number_of_classes_only_if_asked(
    run_stage: RunStage, tmp_path: Path, digits: Path
) -> None:
    path = write_checkpoint(tmp_path / "w.pt", classes=1000)
    with pytest.raises(StageError) as caught:
        run_stage(Checkpoint, checkpoint(path), data=digits)
    assert caught.value.problems[0].hint.splitlines() == [
        "fc.weight: (10, 64) expected, (1000, 64) found",
        "fc.bias: (10,) expected, (1000,) found",
    ]
    ran = run_stage(Checkpoint, checkpoint(path, head="reinitialize"), data=digits)
    warnings = [data["message"] for kind, data in ran.events if kind == "warning"]
    assert warnings == ["random weights for the last layer: fc.weight, fc.bias"]
    loaded = load(ran, tmp_path).state_dict()
    assert loaded["fc.weight"].shape == (10, 64)
    assert torch.equal(loaded["conv1.weight"], torch.load(path)["conv1.weight"])
    wrong = write_checkpoint(tmp_path / "x.pt", **{"conv1.weight": torch.zeros(16, 3, 3, 3)})
    with pytest.raises(StageError, match="the weights do not fit the model: 1 of"):
        run_stage(Checkpoint, checkpoint(wrong, head="reinitialize"), data=digits)


@pytest.mark.parametrize(
    ("name", "replaced"),
    [("HeadFirst", "head.weight, head.bias"), ("HeadOfConvolution", "head.weight, head.bias")],
)
def test_the_last_layer_is_the_one_that_runs_last(
    run_stage: RunStage, project: Path, tmp_path: Path, digits: Path, name: str, replaced: str
) -> None:
    old = import_user_object(f"mynets.py:{name}", project)(7)
    torch.save(old.state_dict(), tmp_path / "w.pt")
    params = {
        "model": {"arch": f"python:mynets.py:{name}"},
        "weights": str(tmp_path / "w.pt"),
        "head": "reinitialize",
    }
    ran = run_stage(Checkpoint, params, project=project, data=digits)
    warnings = [event["message"] for kind, event in ran.events if kind == "warning"]
    assert warnings == [f"random weights for the last layer: {replaced}"]
    loaded = load(ran, project)
    assert torch.equal(loaded.conv.weight, old.conv.weight)
    assert loaded(torch.zeros(2, 1, 16, 16)).shape == (2, 10)
