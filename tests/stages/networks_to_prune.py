"""A user's networks: what pruning has to follow, and what it cannot."""

from __future__ import annotations

import itertools
import warnings

import torch
from torch import Tensor, nn


class Branches(nn.Module):
    """A residual, a concatenation, a shared width, a depthwise convolution and a flatten."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16))
        self.left = nn.Conv2d(16, 16, 3, 1, 1)
        self.right = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Conv2d(16, 24, 1))
        self.mix = nn.Sequential(nn.Conv2d(40, 32, 1, bias=False), nn.BatchNorm2d(32))
        self.hidden = nn.Linear(32 * 4, 32)
        self.head = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = torch.cat([x + self.left(x), self.right(x)], 1)
        x = nn.functional.adaptive_avg_pool2d(self.mix(x).relu(), 2)
        scores: Tensor = self.head(self.hidden(x.flatten(1)).relu())
        return scores


class FixedSize(nn.Module):
    """Writes down a size that pruning changes."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, 2, 1)
        self.mix = nn.Conv2d(16, 16, 3, 2, 1)
        self.head = nn.Linear(16 * 16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(self.conv(x).relu()).relu()
        scores: Tensor = self.head(x.view(-1, 16 * 16))
        return scores


class OnlyScores(nn.Module):
    """Has nothing but the layer that gives the scores."""

    def __init__(self, num_classes: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels * height * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(x.flatten(1))
        return scores


class Grouped(nn.Module):
    """Grouped convolutions, a squeeze and excitation, and channels that are interleaved."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 2, 1)
        self.grouped = nn.Conv2d(16, 32, 3, 1, 1, groups=4)
        self.squeeze = nn.Conv2d(32, 8, 1)
        self.excite = nn.Conv2d(8, 32, 1)
        self.wide = nn.Conv2d(32, 48, 1)
        self.narrow = nn.Conv2d(48, 32, 3, 1, 1)
        self.last = nn.Conv2d(32, 64, 3, 2, 1)
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.stem(x).relu()).relu()
        x = x * self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = nn.functional.channel_shuffle(x, 4)
        x = x + self.narrow(self.wide(x).relu())
        scores: Tensor = self.head(self.last(x).relu().mean((2, 3)))
        return scores


class Dense(nn.Module):
    """Each layer takes all that came before."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        widths = [16 + 12 * i for i in range(4)]
        self.stem = nn.Conv2d(channels, 16, 3, 1, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, 12, 3, 1, 1, bias=False), nn.BatchNorm2d(12))
            for n in widths[:-1]
        )
        self.mix = nn.Conv2d(widths[-1], 24, 1)
        self.head = nn.Linear(24 * 4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x).relu()], 1)
        x = nn.functional.adaptive_avg_pool2d(self.mix(x).relu(), 2)
        scores: Tensor = self.head(x.flatten(1))
        return scores


class Recurrent(nn.Module):
    """Reads the image line by line; no layer of it but the last has channels to remove."""

    def __init__(self, num_classes: int, channels: int, width: int) -> None:
        super().__init__()
        self.lines = nn.GRU(channels * width, 16, batch_first=True)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.lines(x.transpose(1, 2).flatten(2))
        scores: Tensor = self.head(state[-1])
        return scores


class Padded(nn.Module):
    """A shortcut that is padded to more channels, as in the ResNets for CIFAR."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 2, 1)
        self.wider = nn.Conv2d(16, 24, 3, 1, 1)
        self.last = nn.Conv2d(24, 32, 3, 2, 1)
        self.head = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = self.wider(x) + nn.functional.pad(x, (0, 0, 0, 0, 4, 4))
        scores: Tensor = self.head(self.last(x.relu()).relu().mean((2, 3)))
        return scores


class Places(nn.Module):
    """Has integers among its parameters."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 3, 2, 1)
        self.places = nn.Parameter(torch.arange(15, -1, -1), requires_grad=False)
        self.second = nn.Conv2d(16, 24, 3, 2, 1)
        self.third = nn.Conv2d(24, 32, 3, 2, 1)
        self.head = nn.Linear(32, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu()[:, self.places]).relu()
        scores: Tensor = self.head(self.third(x).relu().mean((2, 3)))
        return scores


class Nothing(nn.Module):
    """Has no parameters."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.classes = num_classes

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, : self.classes]


class Compiled(nn.Module):
    """Has a part that is TorchScript."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        body = nn.Sequential(nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.body = torch.jit.script(body)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(x).mean((2, 3)))
        return scores


class FewSizes(nn.Module):
    """All layers have 16 channels, so with multiples of 8 all of them halve at once."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        widths = [channels, 16, 16, 16, 16]
        self.layers = nn.Sequential(
            *(nn.Conv2d(a, b, 3, 1, 1) for a, b in itertools.pairwise(widths))
        )
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.layers(x).relu().mean((2, 3)))
        return scores


class Gated(nn.Module):
    """One half of the channels opens the other, so they go in pairs."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 32, 3, 2, 1)
        self.second = nn.Conv2d(16, 24, 3, 2, 1)
        self.head = nn.Linear(24, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.first(x).chunk(2, 1)
        scores: Tensor = self.head(self.second(values * gates.sigmoid()).relu().mean((2, 3)))
        return scores
