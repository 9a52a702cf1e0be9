"""Random changes of a batch of images, as tensor operations."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from edgepipe_stages._training.settings import Augmentation


def augmented(images: Tensor, settings: Augmentation, fill: Tensor, generator: Generator) -> Tensor:
    """Change each image on its own.

    Args:
        images: uint8, N × H × W × C.
        settings: which changes.
        fill: uint8, C: the pixel that cutout leaves.
        generator: draws the changes.

    Returns:
        images of the same shape and type.
    """
    if settings.flip:
        images = _flipped(images, generator)
    if settings.shift:
        images = _shifted(images, settings.shift, generator)
    if settings.cutout:
        images = _cut_out(images, settings.cutout, fill, generator)
    return images


def _flipped(images: Tensor, generator: Generator) -> Tensor:
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(chosen, images.flip(2), images)


def _shifted(images: Tensor, most: int, generator: Generator) -> Tensor:
    count, height, width, channels = images.shape
    padded = images.new_zeros(count, height + 2 * most, width + 2 * most, channels)
    padded[:, most : most + height, most : most + width] = images
    down, right = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows = down + torch.arange(height)
    columns = right + torch.arange(width)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _cut_out(images: Tensor, side: int, fill: Tensor, generator: Generator) -> Tensor:
    count, height, width, _ = images.shape
    rows = _inside(count, height, side, generator)
    columns = _inside(count, width, side, generator)
    return torch.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, images)


def _inside(count: int, length: int, side: int, generator: Generator) -> Tensor:
    """N × length: whether a position lies in a span of ``side`` around a random center."""
    first = torch.randint(0, length, (count, 1), generator=generator) - side // 2
    positions = torch.arange(length)
    return (positions >= first) & (positions < first + side)
