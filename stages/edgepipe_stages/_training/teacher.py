"""A trained network that another one learns from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from edgepipe.stage import Context, StageError
from edgepipe_stages import Interface, Split, TorchModel
from edgepipe_stages._torch_model import load_model
from edgepipe_stages._training.evaluate import evaluate
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.layout import arranged, choose_layout
from edgepipe_stages._training.losses import Loss, cross_entropy, distillation
from edgepipe_stages._training.precision import uses_bfloat16
from edgepipe_stages._training.settings import Distillation, FineTuning


class Teacher:
    """Gives scores for images that were normalized for its student."""

    def __init__(self, ctx: Context, path: Path, student: Interface) -> None:
        """Load a model.

        Raises:
            StageError: teacher and student take other images or tell other classes apart.
        """
        self.interface = TorchModel.interface(path)
        _check_same_task(self.interface, student)
        module = load_model(path, ctx.user_object).requires_grad_(False)
        self.layout = choose_layout(module, self.interface)
        self.module = module
        self.bfloat16 = uses_bfloat16("auto", self.module)
        own = torch.tensor([self.interface.mean, self.interface.std])[:, :, None, None]
        its = torch.tensor([student.mean, student.std])[:, :, None, None]
        self.scale = its[1] / own[1]
        self.shift = (its[0] - own[0]) / own[1]
        self.same = bool(torch.equal(own, its))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Scores, float32, N × classes."""
        if not self.same:
            images = images * self.scale + self.shift
        images = arranged(images, self.layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            scores: Tensor = self.module(images)
        return scores.float()

    def loss(self, settings: Distillation, label_smoothing: float) -> Loss:
        """What a student minimizes."""
        return distillation(
            self,
            temperature=settings.temperature,
            alpha=settings.alpha,
            label_smoothing=label_smoothing,
        )

    def accuracy(self, split: Split) -> float:
        """Of a split, a fraction."""
        return evaluate(self.module, Images.of(split, self.interface, self.layout))[0]


def fine_tuning_loss(ctx: Context, student: Interface, settings: FineTuning) -> Loss:
    """Learns from the model at the port ``teacher`` where one is connected."""
    path = ctx.path("teacher")
    if path is None:
        return cross_entropy(settings.label_smoothing)
    return Teacher(ctx, path, student).loss(settings, settings.label_smoothing)


def _check_same_task(teacher: Interface, student: Interface) -> None:
    if teacher.shape != student.shape:
        raise StageError(
            f"the teacher takes images of {teacher.height} × {teacher.width} × {teacher.channels},"
            f" the student of {student.height} × {student.width} × {student.channels}",
            "train both on the same data",
        )
    if teacher.classes != student.classes:
        raise StageError(
            f"the teacher's {len(teacher.classes)} classes are not the student's"
            f" {len(student.classes)}",
            f"the teacher's: {', '.join(teacher.classes[:10])}\n"
            f"the student's: {', '.join(student.classes[:10])}",
        )
