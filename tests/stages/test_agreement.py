"""A model and a data set of other classes do not meet unnoticed, and NaN is no score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from edge_models import interface, save_noise, save_onnx
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import Stage, StageError
from edgepipe_stages import Dataset, ImageDataset, Interface, OnnxModel, TorchModel
from edgepipe_stages._agreement import check_classes
from edgepipe_stages._torch_model import build, save_model
from edgepipe_stages.benchmark.onnxruntime import BenchmarkOnnxRuntime
from edgepipe_stages.benchmark.torch import BenchmarkTorch
from edgepipe_stages.check.parity import Parity
from edgepipe_stages.convert.tflite import ConvertTFLite
from edgepipe_stages.prune.magnitude import PruneMagnitude
from edgepipe_stages.prune.structured import PruneStructured
from edgepipe_stages.quantize.static import QuantizeStatic
from edgepipe_stages.train.classifier import TrainClassifier

SHAPE = (1, 8, 8)
SHORT = {"runs": 50, "seconds": 0.1, "threads": [1]}


def save_torch(path: Path, classes: int = 4, scale: float = 1.0) -> Path:
    architecture = {"arch": "resnet8", "width": 0.25}
    own = interface(SHAPE, classes)

    def no_user_code(reference: str) -> None:
        raise AssertionError(reference)

    module = build(architecture, own, no_user_code)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter *= scale
    path.mkdir()
    save_model(path, module, {"interface": own.as_json(), "architecture": architecture})
    return path


def save_data(path: Path, classes: tuple[str, ...]) -> Path:
    data = ImageDataset.load(save_noise(path, SHAPE, len(classes)))
    named = replace(data.interface, classes=classes)
    ImageDataset.save(path, Dataset(data.train, data.test, named))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    return {"torch": save_torch(folder / "torch"), "onnx": save_onnx(folder / "onnx", flat, SHAPE)}


STAGES = [
    (BenchmarkTorch, SHORT, {"model": "torch"}),
    (BenchmarkOnnxRuntime, SHORT, {"model": "onnx"}),
    (Parity, {}, {"reference": "torch", "model": "torch"}),
    (PruneMagnitude, {"epochs": 0}, {"model": "torch"}),
    (PruneStructured, {"epochs": 0, "ratio": 0.5}, {"model": "torch"}),
    (QuantizeStatic, {"samples": 8}, {"model": "onnx"}),
]


@pytest.mark.parametrize(
    ("stage", "params", "ports"), STAGES, ids=lambda s: getattr(s, "__name__", "")
)
@pytest.mark.parametrize(
    ("classes", "differ"),
    [
        (("class3", "class2", "class1", "class0"), "has the model's classes in another order"),
        (tuple(f"class{i}" for i in range(6)), "has other classes than the model"),
        (("0", "1", "2"), "has other classes than the model"),
    ],
    ids=["order", "more", "fewer"],
)  # fmt: skip
def test_other_classes_are_refused(
    run_stage: RunStage,
    tmp_path: Path,
    models: dict[str, Path],
    stage: type[Stage],
    params: dict[str, object],
    ports: dict[str, str],
    classes: tuple[str, ...],
    differ: str,
) -> None:
    inputs = {port: models[name] for port, name in ports.items()}
    with pytest.raises(StageError) as caught:
        run_stage(stage, params, data=save_data(tmp_path / "data", classes), **inputs)
    assert differ in str(caught.value)
    assert f"{len(classes)} ({', '.join(classes[:5])}" in str(caught.value)
    assert "the model 4 (class0, class1, class2, class3)" in str(caught.value)
    assert "train.classifier" in caught.value.render()


def test_calibration_images_of_other_classes_are_refused(
    run_stage: RunStage, tmp_path: Path, models: dict[str, Path]
) -> None:
    other = save_data(tmp_path / "data", ("a", "b", "c", "d"))
    flat = save_onnx(tmp_path / "onnx", nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), SHAPE)
    described = {"interface": ImageDataset.interface(other).as_json()}
    OnnxModel.save(flat, described)
    images = run_stage(QuantizeStatic, {"samples": 8}, model=flat, data=other)
    with pytest.raises(StageError, match="other classes than the model"):
        run_stage(
            ConvertTFLite,
            {"precision": "int8"},
            model=models["onnx"],
            calibration=images.outputs["calibration"],
        )


def named(*classes: str) -> Interface:
    return replace(interface(SHAPE), classes=classes)


def test_numbers_stand_for_any_names() -> None:
    check_classes(named("cat", "dog"), named("0", "1"))
    check_classes(named("0", "1"), named("cat", "dog"))
    with pytest.raises(StageError):
        check_classes(named("cat", "dog"), named("1", "0"))


@pytest.mark.parametrize("classes", [(), ("class0", "class1", "class2", "class3")])
def test_scores_are_counted(run_stage: RunStage, tmp_path: Path, classes: tuple[str, ...]) -> None:
    six = nn.Sequential(nn.Flatten(), nn.Linear(64, 6))
    model = save_onnx(tmp_path / "model", six, SHAPE)
    OnnxModel.save(model, {"interface": named(*classes).as_json()})
    data = save_noise(tmp_path / "data", SHAPE)
    with pytest.raises(StageError, match="gives 6 scores an image, and the data has 4 classes"):
        run_stage(BenchmarkOnnxRuntime, SHORT, model=model, data=data)


def test_training_says_that_the_order_changes(run_stage: RunStage, tmp_path: Path) -> None:
    model = save_torch(tmp_path / "model")
    data = save_data(tmp_path / "data", ("class3", "class2", "class1", "class0"))
    params = {"epochs": 1, "validation_fraction": 0}
    ran = run_stage(TrainClassifier, params, init=model, data=data)
    assert any("another order" in text for name, event in ran.events for text in event.values()
               if isinstance(text, str))  # fmt: skip
    assert TorchModel.interface(ran.outputs["model"]).classes == ("class3", "class2", "class1", "class0")  # fmt: skip


class Root(nn.Module):
    """NaN for every image with a negative mean, which is about half of them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :4] + x.mean((1, 2, 3)).sqrt()[:, None]


def test_a_benchmark_counts_images_without_scores(run_stage: RunStage, tmp_path: Path) -> None:
    model = save_onnx(tmp_path / "model", Root(), SHAPE)
    folder = save_noise(tmp_path / "data", SHAPE)
    data = ImageDataset.load(folder)
    means = data.interface.normalize(data.test.images).mean((1, 2, 3))
    bad = int((means < 0).sum())
    assert 0 < bad < len(data.test)
    with pytest.raises(StageError, match=rf"no finite numbers, for {bad} of {len(data.test)} im"):
        run_stage(BenchmarkOnnxRuntime, SHORT, model=model, data=folder)


@pytest.mark.parametrize(("stage", "params"), [(PruneMagnitude, {"epochs": 0}), (Parity, {})])
def test_a_network_that_overflows_is_refused(
    run_stage: RunStage, tmp_path: Path, stage: type[Stage], params: dict[str, object]
) -> None:
    model = save_torch(tmp_path / "model", scale=1e18)
    data = save_noise(tmp_path / "data", SHAPE)
    reference = {"reference": model} if stage is Parity else {}
    with pytest.raises(StageError, match=r"no finite numbers, for 24 of 24 images"):
        run_stage(stage, params, model=model, data=data, **reference)


def test_scores_that_are_no_numbers_break_every_bound(run_stage: RunStage, tmp_path: Path) -> None:
    model = save_torch(tmp_path / "reference")
    onnx = save_onnx(tmp_path / "model", Root(), SHAPE)
    data = save_noise(tmp_path / "data", SHAPE)
    loose = {
        "max_relative_error": 1e9,
        "min_sqnr_db": -1e9,
        "min_top1_agreement": 0,
        "max_accuracy_drop": 1,
        "tolerance": "int8",
    }
    with pytest.raises(StageError, match="scores that are no finite numbers for "):
        run_stage(Parity, loose, reference=model, model=onnx, data=data)
