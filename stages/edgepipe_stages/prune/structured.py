"""prune.structured: remove channels, so that the network gets smaller and faster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, StageError, optional
from edgepipe_stages import Dataset, ImageDataset, TorchModel
from edgepipe_stages._training.settings import FineTuning, training_problems

if TYPE_CHECKING:
    from torch import nn

    from edgepipe_stages._pruning.channels import ChannelPruner


class PruneStructured(FineTuning, Stage):
    """Remove the least important channels of a network, and fine-tune what is left.

    The tensors get smaller for real. Fine-tuning learns from the labels, and from ``teacher``
    where one is connected (the model before pruning is a good one).
    """

    inputs = {"model": TorchModel, "data": ImageDataset, "teacher": optional(TorchModel)}
    outputs = {"model": TorchModel, "history": Metrics}
    requires = ("torch", "torch-pruning", "safetensors", "numpy")
    cpus = 0
    metrics = {
        "accuracy": Metric("fraction", "of the test split, after fine-tuning"),
        "accuracy_before_finetuning": Metric(
            "fraction", "of the test split, right after the last pruning"
        ),
        "macs": Metric("count", "multiply-accumulates for one image"),
        "macs_before": Metric("count", "the same before pruning"),
        "macs_removed": Metric("fraction", "of the multiply-accumulates"),
        "parameters": Metric("count", "of the pruned network"),
        "parameters_removed": Metric("fraction", "of the parameters"),
    }

    macs_ratio: float | None = Field(
        None, gt=0, lt=1, description="at least this share of the multiply-accumulates goes"
    )
    ratio: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="this share of each layer's channels goes; instead of macs_ratio",
    )
    importance: Literal["l1", "l2", "bn_scale", "taylor"] = Field(
        "l2",
        description="channels that go first: l1, l2: smallest weights; bn_scale: smallest scale"
        " of the batch norm; taylor: least effect on the loss",
    )
    round_to: int = Field(8, ge=1, le=128, description="numbers of channels become multiples of it")
    ignore: tuple[str, ...] = Field(
        (), description="layers whose outputs stay, by name or pattern, as in 'features.0.*'"
    )
    steps: int = Field(
        1, ge=1, le=20, description="prunes little by little, with fine-tuning after each step"
    )
    step_epochs: int = Field(
        2, ge=1, le=1000, description="epochs of fine-tuning after each step but the last"
    )

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        if (self.ratio is None) == (self.macs_ratio is None):
            yield (
                "macs_ratio",
                "one of 'macs_ratio' and 'ratio' says how much goes",
                "give macs_ratio: 0.5 to halve the work, or ratio: 0.5 to halve the channels",
            )
        yield from training_problems(self)

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._agreement import check_classes
        from edgepipe_stages._macs import macs_and_params
        from edgepipe_stages._plain_weights import make_plain, plain_weights
        from edgepipe_stages._pruning.channels import ChannelPruner, accumulate_gradients
        from edgepipe_stages._pruning.excess import excess_of_channels, excess_of_macs, widths
        from edgepipe_stages._pruning.search import listed
        from edgepipe_stages._torch_model import (
            build,
            load_model,
            prepare_torch,
            resizings,
            save_model,
        )
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
        macs_before, parameters_before = macs_and_params(module, interface)
        widths_before = widths(module)
        pruner = ChannelPruner(
            interface, importance=self.importance, round_to=self.round_to, ignore=self.ignore
        )
        histories = []
        for step in range(1, self.steps + 1):
            if self.importance == "taylor":
                accumulate_gradients(module, train.sample(512, ctx.seed))
            ratio = self._ratio(pruner, module, step, macs_before)
            if ratio > 0:
                pruner.remove_channels(module, ratio)
                # Fewer channels may want another layout.
                chosen = choose_layout(module, interface)
                if chosen != layout:
                    layout = chosen
                    train = Images.of(data.train, interface, layout)
                    test = Images.of(data.test, interface, layout)
            accuracy_before, _ = evaluate(module, test)
            epochs = self.epochs if step == self.steps else self.step_epochs
            if epochs:
                settings = self.model_copy(update={"epochs": epochs})
                name = f"fine-tuning {step}"
                histories.append(fit(ctx, module, train, settings, loss=loss, name=name))
        if pruner.left_alone:
            ctx.warn(
                "channels that cannot be followed through the network stay: those of"
                f" {listed(pruner.left_alone)}, and of layers that are added to them"
            )
        macs, parameters = macs_and_params(module, interface)
        if macs >= macs_before:
            raise StageError(
                "no channel could be removed",
                f"lower round_to, which is {self.round_to}, or raise the ratio; bn_scale needs"
                " batch norms, and a layer stays that gives the scores or is reshaped or flattened"
                " in a way that cannot be followed",
            )
        if excess := (
            excess_of_channels(self.ratio, widths_before, widths(module), self.round_to)
            if self.ratio
            else excess_of_macs(self.macs_ratio or 0, 1 - macs / macs_before, self.round_to)
        ):
            ctx.warn(excess)
        accuracy, _ = evaluate(module, test)
        fresh = build(description["architecture"], interface, ctx.user_object)
        make_plain(fresh, description.get("plain", ()))
        save_model(
            ctx.output("model"), module, {**description, "resized": resizings(module, fresh)}
        )
        ctx.save(
            "history",
            {
                "accuracy": accuracy,
                "accuracy_before_finetuning": accuracy_before,
                "macs": macs,
                "macs_before": macs_before,
                "macs_removed": 1 - macs / macs_before,
                "parameters": parameters,
                "parameters_removed": 1 - parameters / parameters_before,
                "curves": curves(*histories),
            },
        )

    def _ratio(
        self, pruner: ChannelPruner, module: nn.Module, step: int, macs_before: int
    ) -> float:
        """The share of the channels that are there now to remove in this step."""
        if self.macs_ratio is not None:
            allowed = int(macs_before * (1 - self.macs_ratio * step / self.steps))
            return pruner.ratio_for(module, allowed)
        if self.ratio is None:
            raise StageError("nothing says how much to prune", "give macs_ratio or ratio")
        left_before, left = (1 - self.ratio * s / self.steps for s in (step - 1, step))
        return 1 - left / left_before
