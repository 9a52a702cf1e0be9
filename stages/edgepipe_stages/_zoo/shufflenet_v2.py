"""ShuffleNetV2 (Ma et al., 2018, https://arxiv.org/abs/1807.11164)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepipe_stages._zoo._layers import divisible, initialize

_BLOCKS = (4, 8, 4)

_CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""The published widths; others are between them."""


def _branch(inputs: int, outputs: int, stride: int, *, expand: bool) -> nn.Sequential:
    first = [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    hidden = outputs if expand else inputs
    return nn.Sequential(
        *(first if expand else []),
        nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
        nn.BatchNorm2d(hidden),
        nn.Conv2d(hidden, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Unit(nn.Module):
    """Two branches whose channels are then interleaved; one of them may be the input itself."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.halves = stride == 1 and inputs == outputs
        empty = nn.Sequential()
        self.branch1 = empty if self.halves else _branch(inputs, half, stride, expand=False)
        self.branch2 = _branch(half if self.halves else inputs, half, stride, expand=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.halves:
            left, right = x.chunk(2, 1)
            x = torch.cat([left, self.branch2(right)], 1)
        else:
            x = torch.cat([self.branch1(x), self.branch2(x)], 1)
        return shuffle(x)


def shuffle(x: Tensor, groups: int = 2) -> Tensor:
    """Interleave the channels of ``groups`` equal parts."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleNetV2(nn.Module):
    """A strided stem with a pool, three stages that halve the image, a wide last convolution."""

    def __init__(
        self, classes: int, channels: int, width: float, unstrided: int, dropout: float | None
    ) -> None:
        super().__init__()
        *widths, last = _CHANNELS.get(width) or _scaled(width)
        inputs = divisible(24 * min(1.0, 2 * width))
        self.conv1 = nn.Sequential(
            nn.Conv2d(channels, inputs, 3, 1 if unstrided else 2, 1, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
        )
        self.maxpool = nn.Identity() if unstrided > 1 else nn.MaxPool2d(3, 2, 1)
        stages = []
        for blocks, outputs in zip(_BLOCKS, widths, strict=True):
            rest = (Unit(outputs, outputs, 1) for _ in range(blocks - 1))
            stages.append(nn.Sequential(Unit(inputs, outputs, 2), *rest))
            inputs = outputs
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(
            nn.Conv2d(inputs, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU(inplace=True)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout or 0.0)
        self.fc = nn.Linear(last, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        y: Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        return y


def _scaled(width: float) -> tuple[int, int, int, int]:
    first = max(4, 4 * round(29 * width))
    return first, 2 * first, 4 * first, divisible(1024 * max(1.0, width))


shufflenet_v2 = ShuffleNetV2
