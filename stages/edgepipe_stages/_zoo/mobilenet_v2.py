"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381)."""

from __future__ import annotations

from torch import Tensor, nn

from edgepipe_stages._zoo._layers import ConvNormAct, divisible, initialize, strides

_STAGES = [
    # expansion, channels, blocks, stride
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; with a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        expand = [ConvNormAct(inputs, hidden, 1, activation=nn.ReLU6)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvNormAct(hidden, hidden, 3, stride, groups=hidden, activation=nn.ReLU6),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


class MobileNetV2(nn.Module):
    """Inverted residuals between a strided stem and a wide last convolution."""

    def __init__(
        self, classes: int, channels: int, width: float, unstrided: int, dropout: float | None
    ) -> None:
        super().__init__()
        stem, *stages = strides([2, *(stride for *_, stride in _STAGES)], unstrided)
        last = divisible(1280 * max(1.0, width))
        inputs = divisible(32 * width)
        features: list[nn.Module] = [ConvNormAct(channels, inputs, 3, stem, activation=nn.ReLU6)]
        for (expansion, outputs, blocks, _), stride in zip(_STAGES, stages, strict=True):
            for block in range(blocks):
                step = stride if block == 0 else 1
                features.append(
                    InvertedResidual(inputs, divisible(outputs * width), step, expansion)
                )
                inputs = divisible(outputs * width)
        self.features = nn.Sequential(*features, ConvNormAct(inputs, last, 1, activation=nn.ReLU6))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(0.2 if dropout is None else dropout), nn.Linear(last, classes)
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return y


mobilenet_v2 = MobileNetV2
