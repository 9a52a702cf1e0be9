"""A small network in the training loop, and trainings that end before their time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from small_digits import save_digits
from torch import Tensor, nn

from edgepipe_stages import ImageDataset
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.layout import choose_layout
from edgepipe_stages._training.loop import Loop
from edgepipe_stages._training.losses import cross_entropy
from edgepipe_stages._training.settings import Training

Tensors = dict[str, Tensor]


def digit_images(folder: Path) -> Images:
    data = ImageDataset.load(save_digits(folder / "data"))
    return Images.of(data.train, data.interface)


def network() -> nn.Module:
    """With all that keeps state: norms, dropout, a depthwise convolution."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def settings(**changes: Any) -> Training:
    return Training.model_validate({"epochs": 4, "learning_rate": 0.02, "batch_size": 32} | changes)


def loop_of(images: Images, chosen: Training, seed: int = 5) -> Loop:
    module = network()
    choose_layout(module, images.interface)
    return Loop(module, images, chosen, cross_entropy(0.0), seed=seed)


def run(loop: Loop) -> None:
    while not loop.finished:
        loop.run_epoch()


def trained(images: Images, chosen: Training, seed: int = 5) -> tuple[Tensors, Loop]:
    loop = loop_of(images, chosen, seed)
    run(loop)
    return {name: t.clone() for name, t in loop.module.state_dict().items()}, loop


def equal(a: Tensors, b: Tensors) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a.keys() | b.keys())


class KilledError(Exception):
    """Stands for the end of the process."""
