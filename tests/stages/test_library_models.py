"""Networks of timm and torchvision: built without a download, trained, kept, exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_digits import save_digits
from stage_runs import RunStage

from edgepipe.stage import StageError
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._runtime import runtime_of, scores
from edgepipe_stages._torch_model import build, load_model
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.train.classifier import TrainClassifier

NETWORKS = {
    "timm:mobilenetv3_small_050": {"drop_rate": 0.1},
    "timm:resnet10t": {},
    "torchvision:mobilenet_v3_small": {"dropout": 0.1},
    "torchvision:shufflenet_v2_x0_5": {},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "small"
    return save_digits(folder, count=80)


@pytest.mark.parametrize("arch", NETWORKS)
def test_a_step_of_training_then_onnx(run_stage: RunStage, data: Path, arch: str) -> None:
    model = {"arch": arch, "kwargs": NETWORKS[arch]}
    params = {"model": model, "epochs": 1, "batch_size": 20, "validation_fraction": 0.0}
    trained = run_stage(TrainClassifier, params, data=data).outputs["model"]
    assert TorchModel.describe(trained)["architecture"]["arch"] == arch
    module = load_model(trained, str)
    fresh = build(model, TorchModel.interface(trained), str)
    assert module.state_dict().keys() == fresh.state_dict().keys()
    first, second = (next(iter(m.parameters())) for m in (module, fresh))
    assert first.shape[1] == 1
    assert not torch.equal(first, second)
    exported = run_stage(ConvertOnnx, model=trained).outputs["model"]
    images = ImageDataset.load_test(data).images
    own, torchs = (
        scores(runtime_of(path)(path, 1, str), path, images) for path in (exported, trained)
    )
    assert own.shape == (20, 10)
    assert own == pytest.approx(torchs, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("timm:mobilnetv3_small_050", "timm has no model 'mobilnetv3_small_050'"),
        ("torchvision:resnet19", "torchvision has no classification model 'resnet19'"),
    ],
)
def test_a_name_that_the_library_does_not_have(data: Path, arch: str, message: str) -> None:
    with pytest.raises(StageError) as caught:
        build({"arch": arch}, ImageDataset.load(data).interface, str)
    assert str(caught.value) == message
    assert caught.value.problems[0].hint.startswith("did you mean '")


def test_an_argument_that_the_network_does_not_take(data: Path) -> None:
    architecture = {"arch": "torchvision:resnet18", "kwargs": {"depth": 3}}
    with pytest.raises(StageError, match=r"'torchvision:resnet18' could not be made: TypeError"):
        build(architecture, ImageDataset.load(data).interface, str)
