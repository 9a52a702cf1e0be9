"""SqueezeNet 1.1 (Iandola et al., 2016, https://arxiv.org/abs/1602.07360)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgepipe_stages._zoo._layers import divisible, strides

_FIRES = [
    # squeezed channels, channels of each of the two expansions, a pool before it
    (16, 64, True),
    (16, 64, False),
    (32, 128, True),
    (32, 128, False),
    (48, 192, True),
    (48, 192, False),
    (64, 256, False),
    (64, 256, False),
]


class Fire(nn.Module):
    """Squeeze to few channels, then expand with 1 × 1 and 3 × 3 kernels side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [
                self.expand1x1_activation(self.expand1x1(x)),
                self.expand3x3_activation(self.expand3x3(x)),
            ],
            1,
        )


class SqueezeNet(nn.Module):
    """Fire modules and pools; the classifier is a convolution.

    There is no batch norm: it wants a learning rate of at most 0.0005 (AdamW).
    """

    def __init__(
        self, classes: int, channels: int, width: float, unstrided: int, dropout: float | None
    ) -> None:
        super().__init__()
        stem, *pools = strides([2, *([2] * sum(pool for *_, pool in _FIRES))], unstrided)
        inputs = divisible(64 * width)
        features: list[nn.Module] = [
            # The published stem does not pad.
            nn.Conv2d(channels, inputs, 3, stem, padding=0 if stem == 2 else 1),
            nn.ReLU(inplace=True),
        ]
        for squeezed, expanded, pool in _FIRES:
            if pool:
                # A pool that is left out keeps its place, so that parameters keep their names.
                keep = pools.pop(0) == 1
                features.append(nn.Identity() if keep else nn.MaxPool2d(3, 2, ceil_mode=True))
            features.append(Fire(inputs, divisible(squeezed * width), divisible(expanded * width)))
            inputs = 2 * divisible(expanded * width)
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5 if dropout is None else dropout),
            nn.Conv2d(inputs, classes, 1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        # Without batch norm, only weights that keep the signal's size train at all.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(cast("Tensor", module.bias))
        nn.init.normal_(cast("Tensor", self.classifier[1].weight), 0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x))
        return y.flatten(1)


squeezenet1_1 = SqueezeNet
