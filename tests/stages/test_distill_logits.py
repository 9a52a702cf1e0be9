"""distill.logits: a student that learns what a teacher knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_digits import save_digits
from stage_runs import RunStage

from edgepipe.stage import Context, StageError
from edgepipe_stages import Dataset, ImageDataset, Split, TorchModel
from edgepipe_stages._training.teacher import Teacher
from edgepipe_stages.distill.logits import DistillLogits
from edgepipe_stages.train.classifier import TrainClassifier

STUDENT = {
    "model": {"arch": "resnet8", "width": 0.5},
    "epochs": 10,
    "learning_rate": 0.01,
    "batch_size": 16,
    "augment": {"shift": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return save_digits(folder / "ten")


@pytest.fixture(scope="module")
def teacher(run_stage: RunStage, data: Path) -> Path:
    params = {**STUDENT, "validation_fraction": 0.0}
    return run_stage(TrainClassifier, params, data=data).outputs["model"]


def save(path: Path, data: Dataset) -> Path:
    path.mkdir()
    ImageDataset.save(path, data)
    return path


def with_wrong_labels(path: Path, source: Path) -> Path:
    data: Dataset = ImageDataset.load(source)
    wrong = np.random.default_rng(0).integers(0, 10, len(data.train)).astype(np.int64)
    return save(path, replace(data, train=Split(data.train.images, wrong)))


def test_the_student_learns_from_the_teacher_alone(
    run_stage: RunStage, folder: Path, data: Path, teacher: Path
) -> None:
    """Its labels are noise: what it knows in the end it has from the teacher."""
    noise = with_wrong_labels(folder / "noise", data)
    params = {**STUDENT, "alpha": 1.0, "validation_fraction": 0.0}
    ran = run_stage(DistillLogits, params, data=noise, teacher=teacher)
    assert ran.metrics["teacher_accuracy"] > 0.9
    assert ran.metrics["accuracy"] > 0.8
    alone = run_stage(DistillLogits, {**params, "alpha": 0.0}, data=noise, teacher=teacher)
    assert alone.metrics["accuracy"] < 0.4


def test_two_runs_give_the_same_bytes(run_stage: RunStage, data: Path, teacher: Path) -> None:
    params = {"model": {"arch": "mobilenet_v2", "width": 0.25}, "epochs": 1}
    first, second = (run_stage(DistillLogits, params, data=data, teacher=teacher) for _ in "ab")
    for port in ("model", "history"):
        names = sorted(path.name for path in first.outputs[port].iterdir())
        assert names
        for name in names:
            assert (first.outputs[port] / name).read_bytes() == (
                second.outputs[port] / name
            ).read_bytes()


def test_a_teacher_that_was_trained_with_another_normalization(
    data: Path, teacher: Path, tmp_path: Path
) -> None:
    interface = TorchModel.interface(teacher)
    student = replace(interface, mean=(0.6,), std=(0.9,))
    context = Context(
        node="test", seed=1, threads=1, scratch_path=tmp_path, project=tmp_path, input_types={},
        output_types={}, input_paths={}, output_paths={},
    )  # fmt: skip
    images = ImageDataset.load(data).test.images
    told = Teacher(context, teacher, student)(torch.from_numpy(student.normalize(images)))
    own = Teacher(context, teacher, interface)(torch.from_numpy(interface.normalize(images)))
    torch.testing.assert_close(told, own, rtol=1e-3, atol=1e-3)


def test_a_student_that_is_trained_already(run_stage: RunStage, data: Path, teacher: Path) -> None:
    ran = run_stage(
        DistillLogits,
        {"epochs": 1, "learning_rate": 1e-4},
        data=data,
        teacher=teacher,
        init=teacher,
    )
    assert ran.metrics["accuracy"] > 0.85


def test_teacher_and_student_of_different_tasks(
    run_stage: RunStage, folder: Path, teacher: Path
) -> None:
    params = {"model": {"arch": "resnet8"}, "epochs": 1}
    few = save_digits(folder / "few", classes=3)
    with pytest.raises(StageError, match="the teacher's 10 classes are not the student's 3"):
        run_stage(DistillLogits, params, data=few, teacher=teacher)
    color = save_digits(folder / "color", channels=3)
    with pytest.raises(StageError, match="the teacher takes images of 16 × 16 × 1"):
        run_stage(DistillLogits, params, data=color, teacher=teacher)
