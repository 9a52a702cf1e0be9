"""Networks that pruning cannot take, or only with care: one sentence each, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file
from small_digits import save_digits
from stage_runs import RunStage

from edgepipe.stage import Stage, StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import ImageDataset
from edgepipe_stages._torch_model import build, save_model
from edgepipe_stages.prune.magnitude import PruneMagnitude
from edgepipe_stages.prune.structured import PruneStructured
from edgepipe_stages.train.classifier import TrainClassifier

HERE = Path(__file__).parent
USER = "python:networks_to_prune.py:"
FAST = {"epochs": 1, "validation_fraction": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("data") / "ten")


@pytest.fixture
def model(data: Path, tmp_path: Path) -> Any:
    def make(name: str) -> Path:
        interface = ImageDataset.load(data).interface
        architecture = {"arch": USER + name}
        module = build(architecture, interface, lambda name: import_user_object(name, HERE))
        path = tmp_path / name
        path.mkdir()
        save_model(path, module, {"interface": interface.as_json(), "architecture": architecture})
        return path

    return make


@pytest.mark.parametrize(
    ("stage", "params", "name", "message"),
    [
        (PruneStructured, {"ratio": 0.5}, "Nothing", "the network has no layer that can be pruned"),
        (PruneMagnitude, {}, "Nothing", "the network has no layer that can be pruned"),
        (PruneStructured, {"ratio": 0.5}, "Compiled", "'body' is TorchScript"),
    ],
)
def test_what_is_refused(
    run_stage: RunStage,
    data: Path,
    model: Any,
    stage: type[Stage],
    params: dict[str, Any],
    name: str,
    message: str,
) -> None:
    with pytest.raises(StageError, match=message) as caught:
        run_stage(stage, {**FAST, **params}, data=data, model=model(name), project=HERE)
    assert caught.value.problems[0].hint


def test_a_network_without_parameters_cannot_be_trained(run_stage: RunStage, data: Path) -> None:
    params = {**FAST, "model": {"arch": USER + "Nothing"}}
    with pytest.raises(StageError, match="no parameters that can be trained") as caught:
        run_stage(TrainClassifier, params, data=data, project=HERE)
    assert caught.value.problems[0].hint


@pytest.mark.parametrize("stage", [PruneStructured, PruneMagnitude])
def test_integers_among_the_parameters_stay(
    run_stage: RunStage, data: Path, model: Any, stage: type[Stage]
) -> None:
    params = {**FAST, **({"ratio": 0.5} if stage is PruneStructured else {})}
    ran = run_stage(stage, params, data=data, model=model("Places"), project=HERE)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    assert tensors["places"].tolist() == list(range(15, -1, -1))
    assert tensors["first.weight"].shape[0] == 16
    assert tensors["third.weight"].shape[0] == (16 if stage is PruneStructured else 32)
