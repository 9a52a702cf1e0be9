"""A small real data set for tests of training: scikit-learn's digits, at their own size doubled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from edgepipe_stages import Dataset, ImageDataset, Interface, Split


def save_digits(path: Path, *, classes: int = 10, channels: int = 1, count: int = 400) -> Path:
    """Write ``count`` images of 16 × 16, three quarters of them to train."""
    digits = load_digits()
    chosen = np.flatnonzero(digits.target < classes)[:count]
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    images = images.repeat(2, 1).repeat(2, 2)[..., None].repeat(channels, 3)
    labels = digits.target[chosen].astype(np.int64)
    cut = len(chosen) * 3 // 4
    interface = Interface(
        height=16,
        width=16,
        channels=channels,
        mean=(0.3,) * channels,
        std=(0.35,) * channels,
        classes=tuple(str(digit) for digit in range(classes)),
    )
    path.mkdir(parents=True)
    train, test = Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:])
    ImageDataset.save(path, Dataset(train, test, interface))
    return path
