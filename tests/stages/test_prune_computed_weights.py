"""Pruning layers whose weights are computed: what is told is what the saved network has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from small_digits import save_digits
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._plain_weights import make_plain
from edgepipe_stages._torch_model import build, load_model
from edgepipe_stages.prune.magnitude import PruneMagnitude
from edgepipe_stages.prune.structured import PruneStructured
from edgepipe_stages.train.classifier import TrainClassifier

HERE = Path(__file__).parent
FILE = "python:networks_with_computed_weights.py:"
NETWORKS = ["WeightNorm", "OldWeightNorm", "SpectralNorm", "OldSpectralNorm", "Masked", "Own"]
FAST = {"epochs": 1, "learning_rate": 0.005, "validation_fraction": 0.0}


def user_object(name: str) -> Any:
    return import_user_object(name, HERE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("data") / "ten")


@pytest.fixture(scope="module")
def model(run_stage: RunStage, data: Path) -> Any:
    """A trained network: its weights are no longer those that it was made with."""
    made: dict[str, Path] = {}

    def train(name: str) -> Path:
        if name not in made:
            params = {**FAST, "model": {"arch": FILE + name}}
            ran = run_stage(TrainClassifier, params, data=data, project=HERE)
            made[name] = ran.outputs["model"]
        return made[name]

    return train


def loaded(path: Path) -> nn.Module:
    return load_model(path, user_object)


def layers(module: nn.Module) -> dict[str, nn.Module]:
    return {
        n: part for n, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_with_plain_weights_computes_the_same(data: Path, name: str) -> None:
    interface = ImageDataset.load(data).interface
    torch.manual_seed(0)
    module = build({"arch": FILE + name}, interface, user_object).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + torch.rand_like(parameter))
    images = torch.rand(3, *interface.shape[1:])
    before = module(images)
    assert make_plain(module) == ["second", "hidden"]
    assert torch.allclose(module(images), before, atol=1e-6)
    assert make_plain(module) == []
    assert all(type(part) in (nn.Conv2d, nn.Linear) for part in layers(module).values())


@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_zeros_told_are_those_of_the_saved_network(
    run_stage: RunStage, data: Path, model: Any, name: str, epochs: int
) -> None:
    params = {**FAST, "sparsity": 0.8, "epochs": epochs}
    ran = run_stage(PruneMagnitude, params, data=data, model=model(name), project=HERE)
    module = loaded(ran.outputs["model"])
    module(torch.zeros(TorchModel.interface(ran.outputs["model"]).shape))
    told = ran.load("history")["sparsity_of_layers"]
    for layer, part in layers(module).items():
        assert float((part.weight == 0).float().mean()) == pytest.approx(told[f"{layer}.weight"])
        assert told[f"{layer}.weight"] == pytest.approx(0.8, abs=0.01)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    weights = [tensors[weight] for weight in told]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert ran.metrics["sparsity"] == zeros / sum(weight.size for weight in weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_go(run_stage: RunStage, data: Path, model: Any, name: str) -> None:
    params = {"ratio": 0.5, "round_to": 1, "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=model(name), project=HERE)
    parts = layers(loaded(ran.outputs["model"]))
    sizes = {layer: tuple(part.weight.shape[:2]) for layer, part in parts.items()}
    assert sizes == {"first": (8, 1), "second": (12, 8), "hidden": (8, 12), "head": (10, 8)}


def test_what_was_pruned_is_pruned_again_and_tuned(
    run_stage: RunStage, data: Path, model: Any
) -> None:
    once = run_stage(
        PruneMagnitude, {"epochs": 0}, data=data, model=model("WeightNorm"), project=HERE
    ).outputs["model"]
    params = {"ratio": 0.5, "round_to": 1, "epochs": 0}
    twice = run_stage(PruneStructured, params, data=data, model=once, project=HERE)
    tuned = run_stage(
        TrainClassifier, FAST, data=data, init=twice.outputs["model"], project=HERE
    ).outputs["model"]
    images = torch.from_numpy(
        TorchModel.interface(tuned).normalize(ImageDataset.load_test(data).images[:4])
    )
    assert np.isfinite(loaded(tuned)(images).detach().numpy()).all()


def test_a_pruned_one_learns_other_classes(
    run_stage: RunStage, data: Path, tmp_path: Path, model: Any
) -> None:
    once = run_stage(
        PruneMagnitude, {"epochs": 0}, data=data, model=model("OldWeightNorm"), project=HERE
    ).outputs["model"]
    few = save_digits(tmp_path / "few", classes=4)
    tuned = run_stage(TrainClassifier, FAST, data=few, init=once, project=HERE)
    assert loaded(tuned.outputs["model"]).head.out_features == 4


def test_a_weight_that_nobody_can_write_to(run_stage: RunStage, data: Path, model: Any) -> None:
    with pytest.raises(StageError, match="the weight of layer 'hidden' is computed") as caught:
        run_stage(PruneMagnitude, {"epochs": 0}, data=data, model=model("Unknown"), project=HERE)
    assert caught.value.problems[0].hint
