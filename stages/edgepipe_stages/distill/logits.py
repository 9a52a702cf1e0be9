"""distill.logits: train a student on a teacher's scores."""

from __future__ import annotations

from collections.abc import Iterable

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, optional
from edgepipe_stages import Dataset, ImageDataset, TorchModel
from edgepipe_stages._architecture import Architecture
from edgepipe_stages._training.settings import (
    Distillation,
    Training,
    start_problems,
    training_problems,
)


class DistillLogits(Training, Distillation, Stage):
    """Train a small student to match a teacher's softened outputs (Hinton et al., 2015).

    The teacher sees the same augmented images. The student is a fresh network, or the one at
    ``init``.
    """

    inputs = {"teacher": TorchModel, "data": ImageDataset, "init": optional(TorchModel)}
    outputs = {"model": TorchModel, "history": Metrics}
    requires = ("torch", "safetensors", "numpy")
    cpus = 0
    metrics = {
        "accuracy": Metric("fraction", "of the student on the test split"),
        "teacher_accuracy": Metric("fraction", "of the teacher on the test split"),
    }

    model: Architecture | None = Field(
        None, description="the student, a fresh network; default: the one at 'init'"
    )

    def needs(self) -> tuple[str, ...]:
        return (*self.requires, *(self.model.distributions if self.model else ()))

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        yield from start_problems(self.model, connected)
        yield from training_problems(self)

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._torch_model import save_model
        from edgepipe_stages._training.evaluate import evaluate
        from edgepipe_stages._training.fit import curves, fit
        from edgepipe_stages._training.start import start
        from edgepipe_stages._training.teacher import Teacher

        begun = start(ctx, self.model)
        teacher = Teacher(ctx, ctx.input("teacher"), begun.interface)
        loss = teacher.loss(self, self.label_smoothing)
        history = fit(ctx, begun.module, begun.train, self, loss=loss)
        accuracy, _ = evaluate(begun.module, begun.test)
        save_model(ctx.output("model"), begun.module, begun.description)
        data: Dataset = ctx.input("data")
        numbers = {"accuracy": accuracy, "teacher_accuracy": teacher.accuracy(data.test)}
        ctx.save("history", {**numbers, "curves": curves(history)})
