"""prune.structured: channels go, tensors get smaller, accuracy comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from small_digits import save_digits
from stage_runs import Ran, RunStage

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._macs import macs_and_params
from edgepipe_stages._pruning.channels import ChannelPruner
from edgepipe_stages._runtime import runtime_of, scores
from edgepipe_stages._torch_model import build, load_model, save_model
from edgepipe_stages._zoo import NAMES
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite
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
    "shufflenet_v2": {"width": 0.5},
    USER + "Branches": {},
    USER + "Grouped": {},
    USER + "Dense": {},
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


@pytest.mark.parametrize("arch", NAMES)
def test_each_architecture_is_pruned_tuned_and_exported(
    run_stage: RunStage, data: Path, tmp_path: Path, arch: str
) -> None:
    architecture = {"arch": arch, "width": 0.5 if arch in ("shufflenet_v2", "resnet8") else 0.25}
    source = untrained(tmp_path / "source", architecture, data)
    params = {"ratio": 0.5, "round_to": 2, **FAST}
    ran = run_stage(PruneStructured, params, data=data, model=source)
    assert 0.4 <= ran.metrics["macs_removed"] < 0.9
    check(ran, source)
    exported = run_stage(ConvertOnnx, model=ran.outputs["model"]).outputs["model"]
    images = ImageDataset.load_test(data).images[:8]
    own, torchs = (
        scores(runtime_of(path)(path, 1, str), path, images)
        for path in (exported, ran.outputs["model"])
    )
    assert own == pytest.approx(torchs, rel=1e-3, abs=1e-4)
    if arch == "shufflenet_v2":
        saved = run_stage(ConvertSavedModel, model=exported).outputs["model"]
        tflite = run_stage(ConvertTFLite, model=saved).outputs["model"]
        last = scores(runtime_of(tflite)(tflite, 1, str), tflite, images)
        assert last == pytest.approx(torchs, rel=1e-3, abs=1e-4)


def untrained(path: Path, architecture: dict[str, Any], data: Path) -> Path:
    torch.manual_seed(0)
    own = ImageDataset.load(data).interface
    path.mkdir()
    module = build(architecture, own, str)
    save_model(path, module, {"interface": own.as_json(), "architecture": architecture})
    return path


def units(module: Any) -> list[Any]:
    return [*module.stage2, *module.stage3, *module.stage4]


def test_channels_that_are_shuffled_keep_their_partners(data: Path) -> None:
    """What goes did nothing before: all that is left computes the same."""
    interface = ImageDataset.load(data).interface
    torch.manual_seed(0)
    module = build({"arch": "shufflenet_v2", "width": 0.5}, interface, str).eval()
    gone = 0
    with torch.no_grad():
        for unit in units(module):
            expand, norm, _, depthwise, second, project, *_ = unit.branch2
            idle = torch.randperm(len(expand.weight))[: len(expand.weight) // 2]
            gone += len(idle)
            for part in (expand, norm, depthwise, second):
                part.weight[idle] = 0
            for part in (norm, second):
                part.bias[idle] = 0
            project.weight[:, idle] = 0
    images = torch.randn(4, *interface.shape[1:])
    before = module(images)
    pruner = ChannelPruner(interface, importance="l2", round_to=1, ignore=["conv1*", "conv5*"])
    pruner.remove_channels(module, 0.5)
    assert sum(len(unit.branch2[0].weight) for unit in units(module)) == gone
    assert torch.allclose(module(images), before, atol=1e-5)


@pytest.mark.parametrize("importance", ["l1", "l2", "bn_scale", "taylor"])
def test_share_of_channels(run_stage: RunStage, data: Path, model: Any, importance: str) -> None:
    source = model("resnet8", 8)
    params = {"ratio": 0.5, "importance": importance, "round_to": 4, **FAST, "epochs": 8}
    ran = run_stage(PruneStructured, params, data=data, model=source)
    check(ran, source)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    assert tensors["layer3.0.conv1.weight"].shape == (32, 16, 3, 3)
    assert tensors["fc.weight"].shape == (10, 32)
    assert ran.metrics["macs_removed"] > 0.7
    assert ran.metrics["accuracy"] > ran.metrics["accuracy_before_finetuning"] + 0.2


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
        (USER + "Recurrent", {"ratio": 0.5}, "no channel could be removed"),
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


@pytest.mark.parametrize("ignore", [[], ["mix"]])
def test_what_a_fixed_size_depends_on_is_left_alone(
    run_stage: RunStage, data: Path, model: Any, ignore: list[str]
) -> None:
    source = model(USER + "FixedSize")
    params = {"ratio": 0.5, "ignore": ignore, "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=source, project=HERE)
    check(ran, source)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    assert tensors["conv.weight"].shape[0] == 8
    assert tensors["mix.weight"].shape == (16, 8, 3, 3)


def test_layers_around_a_shuffle_keep_their_channels(
    run_stage: RunStage, data: Path, model: Any
) -> None:
    source = model(USER + "Grouped")
    params = {"ratio": 0.5, "round_to": 2, "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=source, project=HERE)
    check(ran, source)
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    assert tensors["grouped.weight"].shape[0] == tensors["narrow.weight"].shape[0] == 32
    assert tensors["wide.weight"].shape == (24, 32, 1, 1)
    assert tensors["stem.weight"].shape[0] == 8
    assert tensors["squeeze.weight"].shape[0] == 4
