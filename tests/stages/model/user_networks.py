"""What tests of networks from elsewhere share: a user's file of them, parameters, what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stage_runs import Ran
from torch import nn

from edgepipe.usercode import import_user_object
from edgepipe_stages._torch_model import load_model

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, channels, hidden=4):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(channels, hidden, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(hidden, num_classes))

    def forward(self, x):
        return self.model(x)

def two_outputs():
    return Two()

class Two(nn.Module):
    def forward(self, x):
        return x, x

def for_other_images(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))

def in_double(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(240, num_classes)).double()

class Flat(nn.Module):
    # For one image only: what `flat` gives has another shape, or none, for two.
    def __init__(self, num_classes, rows=1):
        super().__init__()
        self.rows, self.last = rows, nn.Linear(240 if rows else 1, num_classes)

    def forward(self, x):
        return self.last(x.reshape(1, -1) if self.rows else x.mean().reshape(1, 1))

def same_for_all(num_classes): return Flat(num_classes, rows=0)

def lazy(num_classes):
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(),
                         nn.LazyLinear(num_classes))

class HeadFirst(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head, self.conv = nn.Linear(4, num_classes), nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))

class HeadOfConvolution(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head, self.conv = nn.Conv2d(4, num_classes, 1), nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.head(self.conv(x)).mean((2, 3))

def plain(num_classes):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(360, num_classes))

def too_few(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
"""

EXPLICIT = {
    "image_size": [12, 20],
    "classes": ["a", "b", "c"],
    "mean": [0.5],
    "std": [0.25],
}


def checkpoint(weights: Path, **params: Any) -> dict[str, Any]:
    return {"model": {"arch": "resnet8"}, "weights": str(weights), **params}


def load(ran: Ran, project: Path) -> nn.Module:
    return load_model(ran.outputs["model"], lambda name: import_user_object(name, project))
