"""The settings of a training, which no framework is needed for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgepipe.stage import Stage
from edgepipe_stages._training.settings import Training, training_problems
from edgepipe_stages.distill.logits import DistillLogits
from edgepipe_stages.prune.magnitude import PruneMagnitude
from edgepipe_stages.prune.structured import PruneStructured
from edgepipe_stages.train.classifier import TrainClassifier


def problems(stage: type[Stage], params: dict, *connected: str) -> list[str]:
    return [name for name, _, _ in stage(**params).preflight(frozenset(connected))]


def test_patience_needs_validation_images() -> None:
    settings = Training(patience=3, validation_fraction=0)
    assert [name for name, _, _ in training_problems(settings)] == ["patience"]
    assert not list(training_problems(Training(patience=3)))


@pytest.mark.parametrize("stage", [TrainClassifier, DistillLogits])
def test_a_training_starts_from_an_architecture_or_a_model(stage: type[Stage]) -> None:
    model = {"arch": "resnet8"}
    assert problems(stage, {}, "data") == ["model"]
    assert problems(stage, {"model": model}, "data", "init") == ["model"]
    assert problems(stage, {"model": model}, "data") == []
    assert problems(stage, {}, "data", "init") == []
    assert problems(stage, {"model": {"arch": "resnet9"}}, "data") == ["model.arch"]


def test_pruning_needs_one_amount() -> None:
    assert problems(PruneStructured, {}) == ["macs_ratio"]
    assert problems(PruneStructured, {"ratio": 0.5, "macs_ratio": 0.5}) == ["macs_ratio"]
    assert problems(PruneStructured, {"ratio": 0.5}) == []
    assert problems(PruneMagnitude, {"patience": 1, "validation_fraction": 0}) == ["patience"]


def test_fine_tuning_can_be_left_out_but_training_cannot() -> None:
    assert PruneStructured(macs_ratio=0.5, epochs=0).epochs == 0
    assert PruneMagnitude(epochs=0).epochs == 0
    with pytest.raises(ValueError, match="epochs"):
        TrainClassifier(epochs=0)


def test_the_stages_import_without_torch() -> None:
    code = (
        "import sys, edgepipe_stages.train.classifier, edgepipe_stages.distill.logits,"
        " edgepipe_stages.prune.structured, edgepipe_stages.prune.magnitude\n"
        "assert not {'torch', 'numpy', 'safetensors', 'torch_pruning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
