"""A user's networks that reorder or mix channels between two convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Between(nn.Module):
    """``first``, a function, ``second``; ``free`` has nothing to do with the function."""

    def __init__(self, function: Callable[[Tensor], Tensor], size: int = 16) -> None:
        super().__init__()
        self.function = function
        self.first = nn.Conv2d(3, 16, 3, 2, 1)
        self.second = nn.Conv2d(size, 24, 3, 2, 1)
        self.free = nn.Conv2d(24, 16, 1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.function(self.first(x).relu())).relu()
        scores: Tensor = self.head(self.free(x).relu().mean((2, 3)))
        return scores


class Flat(nn.Module):
    """``first``, a function that makes a vector, ``second``."""

    def __init__(self, function: Callable[[Tensor], Tensor], size: int) -> None:
        super().__init__()
        self.function = function
        self.first = nn.Conv2d(3, 16, 3, 4, 1)
        self.second = nn.Linear(size, 24)
        self.free = nn.Linear(24, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.function(self.first(x).relu())).relu()
        scores: Tensor = self.head(self.free(x).relu())
        return scores


class Norm(nn.Module):
    """A layer norm over channels, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        deviation = (x - mean).pow(2).mean(1, keepdim=True).sqrt()
        return (x - mean) / (deviation + 1e-5) * self.scale.view(-1, 1, 1)


class Spatial(nn.Module):
    """Attention to places, by the mean and the maximum of all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.stack([x.mean(1), x.amax(1)], 1)
        return x * self.weigh(seen).sigmoid()


def pooled(x: Tensor) -> Tensor:
    return torch.cat([x.mean((2, 3)), x.amax((2, 3)), x.flatten(1)], 1)


REORDERING = {
    "channels padded": Between(lambda x: F.pad(x, (0, 0, 0, 0, 4, 4)), 24),
    "unbound, reversed": Between(lambda x: torch.stack(torch.unbind(x, 1)[::-1], 1)),
    "halves swapped": Between(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)),
    "a list of places": Between(lambda x: x[:, list(range(15, -1, -1))]),
    "sorted": Between(lambda x: x.sort(1)[0]),
    "flat, channels last": Flat(lambda x: x.permute(0, 2, 3, 1).flatten(1), 256),
    "flat, padded": Flat(lambda x: F.pad(x.mean((2, 3)), (2, 2)), 20),
    "pooled and flat": Flat(pooled, 18 * 16),
}
FOLLOWED = {
    "nothing": Between(lambda x: x),
    "batch norm": Between(nn.BatchNorm2d(16)),
    "group norm": Between(nn.GroupNorm(4, 16)),
    "layer norm": Between(lambda x: F.layer_norm(x.mT, x.shape[-1:]).mT),
    "layer norm by hand": Between(Norm()),
    "softmax": Between(lambda x: x * x.softmax(1)),
    "normalized": Between(lambda x: F.normalize(x, dim=1)),
    "mean taken off": Between(lambda x: x - x.mean(1, keepdim=True)),
    "own precision": Between(lambda x: x.float()),
    "both signs": Between(lambda x: torch.cat([x, -x], 1), 32),
    "flat": Flat(lambda x: x.flatten(1), 256),
}
