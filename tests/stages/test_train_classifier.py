"""train.classifier: fresh networks, fine-tuning, other classes, the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from small_digits import save_digits
from stage_runs import RunStage

from edgepipe.stage import StageError
from edgepipe_stages import Dataset, ImageDataset, TorchModel
from edgepipe_stages.train.classifier import TrainClassifier

PARAMS = {"model": {"arch": "resnet8", "width": 0.5}, "epochs": 3, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return save_digits(folder / "ten")


@pytest.fixture(scope="module")
def trained(run_stage: RunStage, data: Path) -> Path:
    return run_stage(TrainClassifier, PARAMS, data=data).outputs["model"]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_runs_give_the_same_bytes(run_stage: RunStage, data: Path, trained: Path) -> None:
    again = run_stage(TrainClassifier, PARAMS, data=data)
    assert content(again.outputs["model"]) == content(trained)
    once_more = run_stage(TrainClassifier, PARAMS, data=data)
    assert content(again.outputs["history"]) == content(once_more.outputs["history"])
    other = run_stage(TrainClassifier, PARAMS, data=data, seed=8)
    assert content(other.outputs["model"]) != content(trained)


def test_the_history_has_accuracy_and_curves_and_no_times(run_stage: RunStage, data: Path) -> None:
    params = {**PARAMS, "model": {"arch": "mobilenet_v2", "width": 0.25}, "epochs": 2}
    ran = run_stage(TrainClassifier, params, data=data)
    history = ran.load("history")
    assert history.keys() == {"accuracy", "curves"}
    assert set(ran.metrics) == set(TrainClassifier.metrics)
    assert history["curves"].keys() == {"loss", "validation_accuracy", "learning_rate"}
    assert all(curve["x"] == [1, 2] for curve in history["curves"].values())


def test_it_learns_from_color_images_of_few_classes(run_stage: RunStage, folder: Path) -> None:
    data = save_digits(folder / "three", classes=3, channels=3)
    params = {**PARAMS, "epochs": 10, "validation_fraction": 0.0}
    ran = run_stage(TrainClassifier, params, data=data)
    assert ran.metrics["accuracy"] > 0.9


def test_fine_tuning_starts_from_the_model(run_stage: RunStage, data: Path, trained: Path) -> None:
    params = {"epochs": 1, "learning_rate": 1e-9, "validation_fraction": 0.0}
    tuned = run_stage(TrainClassifier, params, data=data, init=trained)
    before, after = (
        load_file(path / "weights.safetensors") for path in (trained, tuned.outputs["model"])
    )
    assert after["conv1.weight"] == pytest.approx(before["conv1.weight"], abs=1e-6)
    assert TorchModel.describe(tuned.outputs["model"]) == TorchModel.describe(trained)


def test_new_classes_get_a_new_last_layer(run_stage: RunStage, folder: Path, trained: Path) -> None:
    three = save_digits(folder / "new", classes=3)
    params = {"epochs": 1, "learning_rate": 1e-9, "validation_fraction": 0.0}
    tuned = run_stage(TrainClassifier, params, data=three, init=trained).outputs["model"]
    before, after = (load_file(path / "weights.safetensors") for path in (trained, tuned))
    assert after["fc.weight"].shape == (3, before["fc.weight"].shape[1])
    assert after["conv1.weight"] == pytest.approx(before["conv1.weight"], abs=1e-6)
    assert TorchModel.interface(tuned).classes == ("0", "1", "2")


def test_images_that_do_not_fit_the_model(run_stage: RunStage, folder: Path, trained: Path) -> None:
    color = save_digits(folder / "color", channels=3)
    with pytest.raises(StageError, match="16 × 16 × 3 do not fit a model that takes 16 × 16 × 1"):
        run_stage(TrainClassifier, {"epochs": 1}, data=color, init=trained)


def test_normalization_of_the_trained_model_is_kept(
    run_stage: RunStage, folder: Path, data: Path, trained: Path
) -> None:
    value: Dataset = ImageDataset.load(data)
    other = folder / "otherwise_normalized"
    other.mkdir()
    interface = replace(value.interface, mean=(0.5,), std=(0.5,))
    ImageDataset.save(other, replace(value, interface=interface))
    params = {"epochs": 1, "learning_rate": 1e-9, "validation_fraction": 0.0}
    tuned = run_stage(TrainClassifier, params, data=other, init=trained)
    assert TorchModel.interface(tuned.outputs["model"]).mean == (0.3,)
