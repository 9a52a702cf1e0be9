"""EfficientNet-B0 (Tan and Le, 2019, https://arxiv.org/abs/1905.11946), without drop connect."""

from __future__ import annotations

from torch import Tensor, nn

from edgepipe_stages._zoo._layers import (
    ConvNormAct,
    SqueezeExcitation,
    divisible,
    initialize,
    strides,
)

_STAGES = [
    # expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
]


class MBConv(nn.Module):
    """Expand, convolve each channel, squeeze and excite, project; with a shortcut if it fits."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = divisible(inputs * expansion)
        self.shortcut = stride == 1 and inputs == outputs
        expand = [ConvNormAct(inputs, hidden, 1, activation=nn.SiLU)] if expansion != 1 else []
        self.block = nn.Sequential(
            *expand,
            ConvNormAct(hidden, hidden, kernel, stride, groups=hidden, activation=nn.SiLU),
            SqueezeExcitation(hidden, max(1, inputs // 4), nn.SiLU, nn.Sigmoid),
            ConvNormAct(hidden, outputs, 1, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.shortcut else y


class EfficientNet(nn.Module):
    """Seven stages of MBConv blocks between a strided stem and a wide last convolution."""

    def __init__(
        self, classes: int, channels: int, width: float, unstrided: int, dropout: float | None
    ) -> None:
        super().__init__()
        stem, *steps = strides([2, *(stage[2] for stage in _STAGES)], unstrided)
        inputs = divisible(32 * width)
        features: list[nn.Module] = [ConvNormAct(channels, inputs, 3, stem, activation=nn.SiLU)]
        for (expansion, kernel, _, outputs, blocks), stride in zip(_STAGES, steps, strict=True):
            stage = []
            for block in range(blocks):
                step = stride if block == 0 else 1
                stage.append(MBConv(inputs, divisible(outputs * width), expansion, kernel, step))
                inputs = divisible(outputs * width)
            features.append(nn.Sequential(*stage))
        last = 4 * inputs
        self.features = nn.Sequential(*features, ConvNormAct(inputs, last, 1, activation=nn.SiLU))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(0.2 if dropout is None else dropout), nn.Linear(last, classes)
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return y


efficientnet_b0 = EfficientNet
