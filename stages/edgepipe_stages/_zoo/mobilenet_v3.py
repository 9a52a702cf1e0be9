"""MobileNetV3, large and small (Howard et al., 2019, https://arxiv.org/abs/1905.02244)."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from edgepipe_stages._zoo._layers import (
    ConvNormAct,
    SqueezeExcitation,
    divisible,
    initialize,
    strides,
)

_EPS = 1e-3

_LARGE = [
    # kernel, hidden channels, channels, squeeze-and-excitation, activation, stride
    (3, 16, 16, False, nn.ReLU, 1),
    (3, 64, 24, False, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 1),
    (5, 72, 40, True, nn.ReLU, 2),
    (5, 120, 40, True, nn.ReLU, 1),
    (5, 120, 40, True, nn.ReLU, 1),
    (3, 240, 80, False, nn.Hardswish, 2),
    (3, 200, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 480, 112, True, nn.Hardswish, 1),
    (3, 672, 112, True, nn.Hardswish, 1),
    (5, 672, 160, True, nn.Hardswish, 2),
    (5, 960, 160, True, nn.Hardswish, 1),
    (5, 960, 160, True, nn.Hardswish, 1),
]

_SMALL = [
    (3, 16, 16, True, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 2),
    (3, 88, 24, False, nn.ReLU, 1),
    (5, 96, 40, True, nn.Hardswish, 2),
    (5, 240, 40, True, nn.Hardswish, 1),
    (5, 240, 40, True, nn.Hardswish, 1),
    (5, 120, 48, True, nn.Hardswish, 1),
    (5, 144, 48, True, nn.Hardswish, 1),
    (5, 288, 96, True, nn.Hardswish, 2),
    (5, 576, 96, True, nn.Hardswish, 1),
    (5, 576, 96, True, nn.Hardswish, 1),
]


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, squeeze and excite, project; with a shortcut if it fits."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        kernel: int,
        stride: int,
        excitation: bool,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == outputs
        layer = partial(ConvNormAct, activation=activation, eps=_EPS)
        layers: list[nn.Module] = [layer(inputs, hidden, 1)] if hidden != inputs else []
        layers.append(layer(hidden, hidden, kernel, stride, groups=hidden))
        if excitation:
            layers.append(
                SqueezeExcitation(hidden, divisible(hidden // 4), nn.ReLU, nn.Hardsigmoid)
            )
        layers.append(ConvNormAct(hidden, outputs, 1, activation=None, eps=_EPS))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.shortcut else y


class MobileNetV3(nn.Module):
    """Inverted residuals with gates, between a strided stem and a two-layer classifier."""

    def __init__(
        self,
        blocks: list[tuple[int, int, int, bool, type[nn.Module], int]],
        last: int,
        *,
        classes: int,
        channels: int,
        width: float,
        unstrided: int,
        dropout: float | None,
    ) -> None:
        super().__init__()
        stem, *steps = strides([2, *(stride for *_, stride in blocks)], unstrided)
        layer = partial(ConvNormAct, activation=nn.Hardswish, eps=_EPS)
        inputs = divisible(16 * width)
        features: list[nn.Module] = [layer(channels, inputs, 3, stem)]
        for (kernel, hidden, outputs, excitation, activation, _), stride in zip(
            blocks, steps, strict=True
        ):
            sizes = inputs, divisible(hidden * width), divisible(outputs * width)
            features.append(InvertedResidual(*sizes, kernel, stride, excitation, activation))
            inputs = sizes[-1]
        self.features = nn.Sequential(*features, layer(inputs, 6 * inputs, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * inputs, divisible(last * width)),
            nn.Hardswish(inplace=True),
            nn.Dropout(0.2 if dropout is None else dropout),
            nn.Linear(divisible(last * width), classes),
        )
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return y


mobilenet_v3_large = partial(MobileNetV3, _LARGE, 1280)
mobilenet_v3_small = partial(MobileNetV3, _SMALL, 1024)
