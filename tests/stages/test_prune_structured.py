"""prune.structured: channels go, tensors get smaller, accuracy comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Ran, RunStage
from safetensors.numpy import load_file
from small_digits import save_digits

from edgepipe.stage import StageError, import_user_object
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._macs import macs_and_params
from edgepipe_stages._torch_model import load_model
from edgepipe_stages.prune.structured import PruneStructured
from edgepipe_stages.train.classifier import TrainClassifier

HERE = Path(__file__).parent
USER = "python:networks_to_prune.py:"
FAST = {"epochs": 1, "learning_rate": 0.005, "validation_fraction": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("data") / "ten")


@pytest.fixture(scope="module")
def model(run_stage: RunStage, data: Path) -> Any:
    made: dict[str, Path] = {}

    def train(arch: str, epochs: int = 1, **architecture: Any) -> Path:
        key = f"{arch} {epochs} {architecture}"
        if key not in made:
            params = {
                "model": {"arch": arch, **architecture},
                "epochs": epochs,
                "learning_rate": 0.01,
                "validation_fraction": 0.0,
            }
            ran = run_stage(TrainClassifier, params, data=data, project=HERE)
            made[key] = ran.outputs["model"]
        return made[key]

    return train


def check(ran: Ran, source: Path) -> None:
    """The saved model runs, and is as small and as good as its metrics say."""
    folder, numbers = ran.outputs["model"], ran.metrics
    assert set(numbers) == set(PruneStructured.metrics)
    module = load_model(folder, lambda name: import_user_object(name, HERE))
    interface = TorchModel.interface(folder)
    assert macs_and_params(module, interface) == (numbers["macs"], numbers["parameters"])
    assert numbers["macs"] == pytest.approx(numbers["macs_before"] * (1 - numbers["macs_removed"]))
    before, after = (load_file(path / "weights.safetensors") for path in (source, folder))
    assert before.keys() == after.keys()
    assert all(after[name].size <= before[name].size for name in before)
    learned = [name for name, _ in module.named_parameters()]
    sizes = [sum(tensors[name].size for name in learned) for tensors in (before, after)]
    assert sizes[1] == numbers["parameters"]
    assert sizes[1] == pytest.approx(sizes[0] * (1 - numbers["parameters_removed"]))
    assert (folder / "weights.safetensors").stat().st_size < (
        source / "weights.safetensors"
    ).stat().st_size


NETWORKS = {
    "resnet8": {},
    "mobilenet_v2": {"width": 0.25},
    "mobilenet_v3_small": {"width": 0.5},
    "squeezenet1_1": {"width": 0.5},
    "efficientnet_b0": {"width": 0.25},
    USER + "Branches": {},
}


@pytest.mark.parametrize("arch", NETWORKS)
def test_at_least_the_share_of_macs_goes(
    run_stage: RunStage, data: Path, model: Any, arch: str
) -> None:
    source = model(arch, **NETWORKS[arch])
    params = {"macs_ratio": 0.4, "round_to": 2, "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=source, project=HERE)
    assert 0.4 <= ran.metrics["macs_removed"] < 0.65
    check(ran, source)


@pytest.mark.parametrize("importance", ["l1", "l2", "bn_scale", "taylor"])
def test_share_of_channels(run_stage: RunStage, data: Path, model: Any, importance: str) -> None:
    source = model("resnet8", 8)
    params = {"ratio": 0.5, "importance": importance, "round_to": 4, **FAST, "epochs": 4}
    ran = run_stage(PruneStructured, params, data=data, model=source)
    check(ran, source)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    assert tensors["layer3.0.conv1.weight"].shape == (32, 16, 3, 3)
    assert tensors["fc.weight"].shape == (10, 32)
    assert ran.metrics["macs_removed"] > 0.7
    assert ran.metrics["accuracy"] > ran.metrics["accuracy_before_finetuning"] + 0.1


def test_channels_are_multiples(run_stage: RunStage, data: Path, model: Any) -> None:
    source = model("resnet8", 8)
    params = {"ratio": 0.4, "round_to": 8, "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=source)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    outputs = {tensor.shape[0] for name, tensor in tensors.items() if tensor.ndim == 4}
    assert outputs == {8, 16, 40}


def test_the_channels_of_the_smallest_weights_go(
    run_stage: RunStage, data: Path, model: Any, tmp_path: Path
) -> None:
    source = model(USER + "Branches")
    marked = tmp_path / "marked"
    marked.mkdir()
    (marked / "model.json").write_bytes((source / "model.json").read_bytes())
    tensors = load_file(source / "weights.safetensors")
    gone = [3, 5, 8, 13, 21, 22, 23, 30]
    tensors["hidden.weight"][gone] *= 1e-4
    tensors["head.weight"][:, gone] *= 1e-4
    from safetensors.numpy import save_file

    save_file(tensors, marked / "weights.safetensors")
    params = {"ratio": 0.25, "round_to": 1, "epochs": 0, "ignore": ["stem.*", "left", "mix*"]}
    ran = run_stage(PruneStructured, params, data=data, model=marked, project=HERE)
    after = load_file(ran.outputs["model"] / "weights.safetensors")
    kept = [channel for channel in range(32) if channel not in gone]
    assert np.array_equal(after["head.weight"], tensors["head.weight"][:, kept])
    assert after["stem.0.weight"].shape == tensors["stem.0.weight"].shape
    assert after["mix.0.weight"].shape[0] == 32


def test_steps_end_at_the_same_target(run_stage: RunStage, data: Path, model: Any) -> None:
    source = model("resnet8", 8)
    params = {"macs_ratio": 0.5, "round_to": 2, "steps": 3, "step_epochs": 1, **FAST}
    ran = run_stage(PruneStructured, params, data=data, model=source)
    assert 0.5 <= ran.metrics["macs_removed"] < 0.6
    assert ran.load("history")["curves"]["loss"]["x"] == [1, 2, 3]
    check(ran, source)


def test_two_runs_give_the_same_bytes(run_stage: RunStage, data: Path, model: Any) -> None:
    source = model("mobilenet_v2", width=0.25)
    params = {"macs_ratio": 0.3, "round_to": 4, "importance": "taylor", **FAST}
    first, second = (
        run_stage(PruneStructured, params, data=data, model=source, teacher=source) for _ in "ab"
    )
    for port, name in (
        ("model", "weights.safetensors"),
        ("model", "model.json"),
        ("history", "metrics.json"),
    ):
        files = [ran.outputs[port] / name for ran in (first, second)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_a_pruned_model_is_pruned_again_and_fine_tuned(
    run_stage: RunStage, data: Path, model: Any
) -> None:
    source = model("resnet8", 8)
    params = {"macs_ratio": 0.3, "round_to": 2, "epochs": 0}
    once = run_stage(PruneStructured, params, data=data, model=source).outputs["model"]
    twice = run_stage(PruneStructured, params, data=data, model=once)
    check(twice, once)
    tuned = run_stage(TrainClassifier, FAST, data=data, init=twice.outputs["model"])
    module = load_model(tuned.outputs["model"], lambda name: None)
    images = ImageDataset.load(data).test.images
    normalized = TorchModel.interface(once).normalize(images)
    accuracy = np.mean(
        module(torch.from_numpy(normalized)).argmax(1).numpy()
        == ImageDataset.load(data).test.labels
    )
    assert accuracy == pytest.approx(tuned.metrics["accuracy"])


@pytest.mark.parametrize(
    ("arch", "params", "message"),
    [
        (USER + "FixedSize", {"ratio": 0.5}, "the pruned network does not run"),
        ("shufflenet_v2", {"ratio": 0.5}, "torch-pruning cannot follow the channels"),
        (USER + "OnlyScores", {"ratio": 0.5}, "no channel could be removed"),
        (USER + "OnlyScores", {"macs_ratio": 0.5}, "pruning cannot bring the network down to"),
        (
            USER + "Branches",
            {"ratio": 0.5, "ignore": ["lefft"]},
            "no layer of the network is called",
        ),
        (USER + "Branches", {"macs_ratio": 0.9999}, "pruning cannot bring the network down to"),
    ],
)
def test_what_cannot_be_pruned(
    run_stage: RunStage, data: Path, model: Any, arch: str, params: dict, message: str
) -> None:
    source = model(arch)
    with pytest.raises(StageError, match=message) as caught:
        run_stage(PruneStructured, {"epochs": 0, **params}, data=data, model=source, project=HERE)
    assert caught.value.problems[0].hint


def test_what_a_fixed_size_depends_on_can_be_left_alone(
    run_stage: RunStage, data: Path, model: Any
) -> None:
    source = model(USER + "FixedSize")
    params = {"ratio": 0.5, "ignore": ["mix"], "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=source, project=HERE)
    check(ran, source)
