"""prune.magnitude: set the smallest weights to zero."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, optional
from edgepipe_stages import Dataset, ImageDataset, TorchModel
from edgepipe_stages._training.settings import FineTuning, training_problems


class PruneMagnitude(FineTuning, Stage):
    """Set the weights of the smallest magnitude to zero, and fine-tune the others.

    The tensors keep their shapes (Han et al., 2015): the file gets smaller when it is
    compressed, the network faster only where a runtime has sparse kernels.
    """

    inputs = {"model": TorchModel, "data": ImageDataset, "teacher": optional(TorchModel)}
    outputs = {"model": TorchModel, "history": Metrics}
    requires = ("torch", "safetensors", "numpy")
    cpus = 0
    metrics = {
        "accuracy": Metric("fraction", "of the test split, after fine-tuning"),
        "accuracy_before_finetuning": Metric("fraction", "of the test split, right after pruning"),
        "sparsity": Metric("fraction", "zeros among the weights that may be pruned"),
    }

    sparsity: float = Field(
        0.5, gt=0, lt=1, description="share of the weights of convolutions and linear layers"
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="the smallest weights of each layer, or of all layers together"
    )
    skip_classifier: bool = Field(False, description="leaves the layer alone that gives the scores")

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        yield from training_problems(self)

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._agreement import check_classes
        from edgepipe_stages._plain_weights import plain_weights
        from edgepipe_stages._pruning.layers import output_layers
        from edgepipe_stages._pruning.weights import Mask
        from edgepipe_stages._torch_model import load_model, prepare_torch, save_model
        from edgepipe_stages._training.evaluate import evaluate
        from edgepipe_stages._training.fit import curves, fit
        from edgepipe_stages._training.images import Images
        from edgepipe_stages._training.layout import choose_layout
        from edgepipe_stages._training.teacher import fine_tuning_loss

        prepare_torch(ctx.seed, ctx.threads)
        data: Dataset = ctx.input("data")
        source = ctx.input("model")
        description = TorchModel.describe(source)
        interface = TorchModel.interface(source)
        check_classes(interface, data.interface)
        loss = fine_tuning_loss(ctx, interface, self)
        module = load_model(source, ctx.user_object)
        description |= plain_weights(module, description)
        layout = choose_layout(module, interface)
        train = Images.of(data.train, interface, layout)
        test = Images.of(data.test, interface, layout)
        skip = output_layers(module, interface) if self.skip_classifier else []
        mask = Mask.smallest(module, self.sparsity, self.scope, skip)
        mask.apply()
        before, _ = evaluate(module, test)
        histories = []
        if self.epochs:
            histories.append(
                fit(ctx, module, train, self, loss=loss, constraint=mask.apply, name="fine-tuning")
            )
        accuracy, _ = evaluate(module, test)
        save_model(ctx.output("model"), module, description)
        ctx.save(
            "history",
            {
                "accuracy": accuracy,
                "accuracy_before_finetuning": before,
                "sparsity": mask.sparsity(),
                "sparsity_of_layers": mask.sparsities(),
                "curves": curves(*histories),
            },
        )
