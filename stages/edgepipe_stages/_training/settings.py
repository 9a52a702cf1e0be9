"""What a pipeline can say about a training. Imports no framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from edgepipe.stage import Field, Params
from edgepipe_stages._architecture import Architecture, architecture_problems


class Augmentation(Params):
    """Random changes of the training images, other ones in every epoch."""

    shift: int = Field(
        2, ge=0, le=64, description="moves by up to this many pixels, the edge filled with zeros"
    )
    flip: bool = Field(False, description="mirrors left and right; not for digits or text")
    cutout: int = Field(
        0, ge=0, le=256, description="side of a square set to the mean; 0: none (DeVries, 2017)"
    )


class Training(Params):
    """How a network is trained: what train, distill and prune have in common."""

    epochs: int = Field(12, ge=1, le=10_000, description="passes over the training images")
    batch_size: int = Field(
        64, ge=2, le=8192, description="images a step, at most: batches are made equally large"
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="sgd: with Nesterov's momentum")
    learning_rate: float = Field(
        2e-3, gt=0, le=10, description="at its peak; falls to 0 along a half cosine"
    )
    weight_decay: float = Field(0.02, ge=0, le=1, description="of weights, not of biases and norms")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; adamw has its own")
    warmup_epochs: float = Field(
        1.0,
        ge=0,
        le=1000,
        description="the learning rate rises linearly for so long, at most half of the training",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="(Szegedy et al., 2016)")
    gradient_clip: float | None = Field(
        None, gt=0, le=1e6, description="largest norm of the gradient; default: none"
    )
    augment: Augmentation = Field(
        Augmentation.model_validate({}), description="random changes of the training images"
    )
    validation_fraction: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="of the training images, kept apart to choose the best epoch's weights;"
        " 0: trains on all and keeps the last",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="stops after so many epochs without a better one; default: never",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of convolutions; auto: bfloat16 where the processor has AMX and the network"
        " no grouped convolution",
    )


class Distillation(Params):
    """How a network learns from another one."""

    temperature: float = Field(4.0, gt=0, le=100, description="softens both distributions")
    alpha: float = Field(
        0.7, ge=0, le=1, description="weight of the teacher's outputs; the labels have the rest"
    )


class FineTuning(Training, Distillation):
    """How a network that lost weights is trained again, with a teacher or without."""

    epochs: int = Field(8, ge=0, le=10_000, description="of fine-tuning; 0: none")
    learning_rate: float = Field(
        1e-3, gt=0, le=10, description="at its peak; falls to 0 along a half cosine"
    )


def training_problems(settings: Training) -> Iterator[tuple[str, str, str]]:
    """Settings that contradict each other, for `Stage.preflight`."""
    if settings.patience is not None and settings.validation_fraction == 0:
        yield (
            "patience",
            "stopping early needs validation images, and validation_fraction is 0",
            "set validation_fraction (0.1 is usual), or leave patience out",
        )


def start_problems(
    model: Architecture | None, connected: frozenset[str]
) -> Iterator[tuple[str, str, str]]:
    """A training starts from ``model``, a fresh network, or from the trained one at ``init``."""
    if model is None and "init" not in connected:
        yield (
            "model",
            "there is nothing to train",
            "give the network, as in 'model: {arch: mobilenet_v2}', or connect 'init'",
        )
    elif model is not None and "init" in connected:
        yield (
            "model",
            "the network is that of the model at 'init'",
            "leave out 'model', or do not connect 'init'",
        )
    elif model is not None:
        yield from architecture_problems(model)
