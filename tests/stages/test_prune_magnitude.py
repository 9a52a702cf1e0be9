"""prune.magnitude: exactly as many zeros as asked for, which stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_digits import save_digits
from stage_runs import RunStage

from edgepipe_stages.prune.magnitude import PruneMagnitude
from edgepipe_stages.train.classifier import TrainClassifier

NETWORKS = {"resnet8": {"width": 0.5}, "mobilenet_v2": {"width": 0.25}}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("data") / "ten")


@pytest.fixture(scope="module")
def models(run_stage: RunStage, data: Path) -> dict[str, Path]:
    epochs = {"resnet8": 10, "mobilenet_v2": 1}
    return {
        arch: run_stage(
            TrainClassifier,
            {
                "model": {"arch": arch, **architecture},
                "epochs": epochs[arch],
                "learning_rate": 0.01,
            },
            data=data,
        ).outputs["model"]
        for arch, architecture in NETWORKS.items()
    }


def layers(folder: Path) -> dict[str, np.ndarray]:
    """Weights of convolutions and linear layers; norms have vectors."""
    tensors = load_file(folder / "weights.safetensors")
    return {name: t for name, t in tensors.items() if t.ndim > 1}


@pytest.mark.parametrize("arch", NETWORKS)
@pytest.mark.parametrize("epochs", [0, 1])
def test_each_layer_gets_its_share_of_zeros(
    run_stage: RunStage, data: Path, models: dict[str, Path], arch: str, epochs: int
) -> None:
    params = {"sparsity": 0.7, "epochs": epochs}
    ran = run_stage(PruneMagnitude, params, data=data, model=models[arch])
    before, after = layers(models[arch]), layers(ran.outputs["model"])
    told = ran.load("history")["sparsity_of_layers"]
    assert told.keys() == after.keys()
    for name, weight in after.items():
        zeros = int((weight == 0).sum())
        assert zeros == round(0.7 * weight.size)
        assert told[name] == zeros / weight.size
        gone, kept = (np.abs(before[name][mask]) for mask in (weight == 0, weight != 0))
        assert gone.max() <= kept.min()
    total = sum(w.size for w in after.values())
    assert ran.metrics["sparsity"] == sum(int((w == 0).sum()) for w in after.values()) / total
    assert set(ran.metrics) == set(PruneMagnitude.metrics)


@pytest.mark.parametrize("epochs", [0, 1])
def test_all_layers_together_get_their_share(
    run_stage: RunStage, data: Path, models: dict[str, Path], epochs: int
) -> None:
    params = {"sparsity": 0.83, "scope": "global", "epochs": epochs}
    ran = run_stage(PruneMagnitude, params, data=data, model=models["resnet8"])
    before, after = (
        np.concatenate([w.ravel() for w in layers(folder).values()])
        for folder in (models["resnet8"], ran.outputs["model"])
    )
    assert int((after == 0).sum()) == round(0.83 * after.size)
    assert ran.metrics["sparsity"] == round(0.83 * after.size) / after.size
    assert np.abs(before[after == 0]).max() <= np.abs(before[after != 0]).min()
    shares = ran.load("history")["sparsity_of_layers"].values()
    assert max(shares) - min(shares) > 0.1


def test_zeros_are_positive(run_stage: RunStage, data: Path, models: dict[str, Path]) -> None:
    """A negative zero is equal to zero, but its bytes compress worse."""
    ran = run_stage(PruneMagnitude, {"epochs": 1}, data=data, model=models["resnet8"])
    for weight in layers(ran.outputs["model"]).values():
        assert not np.signbit(weight[weight == 0]).any()


def test_fine_tuning_brings_accuracy_back(
    run_stage: RunStage, data: Path, models: dict[str, Path]
) -> None:
    params = {"sparsity": 0.85, "epochs": 6, "learning_rate": 0.01, "validation_fraction": 0.0}
    source = models["resnet8"]
    ran = run_stage(PruneMagnitude, params, data=data, model=source, teacher=source)
    assert ran.metrics["accuracy"] > ran.metrics["accuracy_before_finetuning"] + 0.05


def test_the_classifier_can_be_left_alone(
    run_stage: RunStage, data: Path, models: dict[str, Path]
) -> None:
    params = {"sparsity": 0.9, "skip_classifier": True, "epochs": 0}
    ran = run_stage(PruneMagnitude, params, data=data, model=models["resnet8"])
    before, after = layers(models["resnet8"]), layers(ran.outputs["model"])
    assert np.array_equal(before["fc.weight"], after["fc.weight"])
    assert "fc.weight" not in ran.load("history")["sparsity_of_layers"]
    assert ran.metrics["sparsity"] == pytest.approx(0.9, abs=1e-3)


def test_two_runs_give_the_same_bytes(
    run_stage: RunStage, data: Path, models: dict[str, Path]
) -> None:
    runs = [
        run_stage(PruneMagnitude, {"epochs": 1}, data=data, model=models["mobilenet_v2"])
        for _ in "ab"
    ]
    files = [ran.outputs["model"] / "weights.safetensors" for ran in runs]
    assert files[0].read_bytes() == files[1].read_bytes()
