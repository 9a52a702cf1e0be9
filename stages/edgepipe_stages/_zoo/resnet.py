"""Residual networks (He et al., 2016, https://arxiv.org/abs/1512.03385).

resnet8 and resnet20 are the paper's three-stage networks for small images; resnet8 is also
the image classification model of MLPerf Tiny.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from edgepipe_stages._zoo._layers import divisible, initialize


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = _conv3x3(inputs, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        z: Tensor = self.relu(y + shortcut)
        return z


class Bottleneck(nn.Module):
    """A 3 × 3 convolution between two of 1 × 1, and a shortcut; the stride is in the 3 × 3."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        z: Tensor = self.relu(y + shortcut)
        return z


class ResNet(nn.Module):
    """A stem and three or four stages of blocks; each stage but the first halves the image."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: list[int],
        base: int,
        *,
        classes: int,
        channels: int,
        width: float,
        unstrided: int,
        dropout: float | None,
    ) -> None:
        super().__init__()
        inputs = divisible(base * width)
        if unstrided:
            self.conv1 = _conv3x3(channels, inputs, 2 if unstrided == 1 else 1)
            self.maxpool: nn.Module = nn.Identity()
        else:
            self.conv1 = nn.Conv2d(channels, inputs, 7, 2, 3, bias=False)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        stages = []
        for i, count in enumerate(blocks):
            planes = divisible(base * 2**i * width)
            stages.append(_stage(block, inputs, planes, count, 1 if i == 0 else 2))
            inputs = planes * block.expansion
        self.layer1, self.layer2, self.layer3 = stages[:3]
        self.layer4 = stages[3] if len(stages) > 3 else nn.Identity()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout or 0.0)
        self.fc = nn.Linear(inputs, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        y: Tensor = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        return y


def _stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, planes: int, count: int, stride: int
) -> nn.Sequential:
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        )
    first = block(inputs, planes, stride, downsample)
    return nn.Sequential(first, *(block(outputs, planes, 1, None) for _ in range(count - 1)))


resnet8 = partial(ResNet, BasicBlock, [1, 1, 1], 16)
resnet20 = partial(ResNet, BasicBlock, [3, 3, 3], 16)
resnet18 = partial(ResNet, BasicBlock, [2, 2, 2, 2], 64)
resnet34 = partial(ResNet, BasicBlock, [3, 4, 6, 3], 64)
resnet50 = partial(ResNet, Bottleneck, [3, 4, 6, 3], 64)
