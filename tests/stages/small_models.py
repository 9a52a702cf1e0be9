"""A small network that knows digits, as artifacts."""

from __future__ import annotations

from pathlib import Path

import torch
from small_digits import save_digits
from torch import nn
from torch.nn import functional as F

from edgepipe_stages import Calibration, Dataset, ImageDataset, Split
from edgepipe_stages._torch_model import build, save_model

ARCHITECTURE = {"arch": "resnet8", "width": 0.5}


def digits(path: Path) -> Dataset:
    """400 digits of 16 × 16."""
    return ImageDataset.load(save_digits(path))


def trained(data: Dataset) -> nn.Module:
    """A ResNet-8 at half its width after a few epochs: right about nine times out of ten."""
    torch.manual_seed(7)
    module = build(ARCHITECTURE, data.interface, _no_user_object).train()
    images = torch.from_numpy(data.interface.normalize(data.train.images))
    labels = torch.from_numpy(data.train.labels)
    optimizer = torch.optim.AdamW(module.parameters(), 5e-3)
    for _ in range(8):
        for batch in torch.randperm(len(labels)).split(50):
            optimizer.zero_grad()
            F.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimizer.step()
    return module.eval()


def save_torch_model(path: Path, module: nn.Module, data: Dataset) -> Path:
    """A TorchModel artifact."""
    path.mkdir(parents=True)
    description = {"interface": data.interface.as_json(), "architecture": ARCHITECTURE}
    save_model(path, module, description)
    return path


def save_calibration(path: Path, data: Dataset, count: int) -> Path:
    """A Calibration artifact of the first training images."""
    path.mkdir(parents=True)
    split = Split(data.train.images[:count], data.train.labels[:count])
    Calibration.save(path, (split, data.interface))
    return path


def _no_user_object(reference: str) -> None:
    raise AssertionError(reference)
