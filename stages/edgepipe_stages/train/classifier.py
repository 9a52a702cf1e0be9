"""train.classifier: train an image classifier, or fine-tune a trained one."""

from __future__ import annotations

from collections.abc import Iterable

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, optional
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._architecture import Architecture
from edgepipe_stages._training.settings import Training, start_problems, training_problems


class TrainClassifier(Training, Stage):
    """Train an image classifier from labels, or fine-tune the model at ``init``.

    The best epoch is chosen by images kept apart from the training split; the test split is
    looked at once, at the end.
    """

    inputs = {"data": ImageDataset, "init": optional(TorchModel)}
    outputs = {"model": TorchModel, "history": Metrics}
    requires = ("torch", "safetensors", "numpy")
    cpus = 0
    metrics = {"accuracy": Metric("fraction", "of the test split")}

    model: Architecture | None = Field(
        None, description="a fresh network; default: the one at 'init'"
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

        begun = start(ctx, self.model)
        history = fit(ctx, begun.module, begun.train, self)
        accuracy, _ = evaluate(begun.module, begun.test)
        save_model(ctx.output("model"), begun.module, begun.description)
        ctx.save("history", {"accuracy": accuracy, "curves": curves(history)})
