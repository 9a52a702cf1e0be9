"""Small modules, each with one operator or layout that the converter has to get right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Apply(nn.Module):
    """A convolution, then a function: its input is not the image, and is negative in parts."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        scale = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.up(F.relu(self.down(scale))))


class LinearExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        scale = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * scale[:, :, None, None]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return F.relu(x + self.body(x))


class Attention(nn.Module):
    """Spatial and channel attention, as CBAM has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.mlp = nn.Sequential(nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1))
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        x = x * torch.sigmoid(gate)
        both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(both))


class Tokens(nn.Module):
    """A small vision transformer: patches, self-attention, layer norm, GELU."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.head = nn.Linear(dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        batch, count, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, count, 3, 2, dim // 2).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1) * (dim // 2) ** -0.5).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, count, dim))
        x = x + self.mlp(self.norm2(x))
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], bidirectional: bool) -> None:
        super().__init__()
        self.rnn = kind(6, 5, batch_first=True, bidirectional=bidirectional)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        columns = F.relu(self.conv(x)).mean(2).transpose(1, 2)
        return self.rnn(columns)[0][:, -1]


def channel_shuffle(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
    return x.reshape(batch, channels, height, width)


def split_and_join(x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    third, fourth = x.split([3, 5], 1)
    return torch.cat([second, F.relu(first), third, fourth], 1)


def seq(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def vary(norm: nn.Module) -> nn.Module:
    """Statistics and weights that are not those of a fresh layer."""
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return norm


MODULES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    # Name: how to make it, and the most TRANSPOSE operators that its TFLite model may have.
    "conv": (lambda: nn.Conv2d(3, 8, 3), 0),
    "conv same": (lambda: nn.Conv2d(3, 8, 3, padding=1), 0),
    "conv 5x3": (lambda: nn.Conv2d(3, 8, (5, 3), padding=(2, 1)), 0),
    "conv even kernel": (lambda: nn.Conv2d(3, 8, 4, padding=1), 0),
    "conv stride": (lambda: nn.Conv2d(3, 8, 3, stride=2, padding=1), 0),
    "conv uneven stride": (lambda: nn.Conv2d(3, 8, 3, stride=(2, 1), padding=1), 0),
    "conv 1x1 stride": (lambda: nn.Conv2d(3, 8, 1, stride=2), 0),
    "conv wide pad": (lambda: nn.Conv2d(3, 8, 3, padding=3), 0),
    "conv dilation": (lambda: nn.Conv2d(3, 8, 3, padding=2, dilation=2), 0),
    "conv circular": (lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), 0),
    "conv groups": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 3, groups=4)), 0),
    "depthwise": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)), 0),
    "depthwise stride": (lambda: nn.Conv2d(3, 3, 3, stride=2, padding=1, groups=3), 0),
    "depthwise times 2": (lambda: nn.Conv2d(3, 6, 5, padding=2, groups=3), 0),
    "depthwise uneven": (lambda: nn.Conv2d(3, 3, 3, stride=(1, 2), padding=1, groups=3), 0),
    "depthwise dilation": (lambda: nn.Conv2d(3, 3, 3, padding=2, dilation=2, groups=3), 0),
    "conv1d": (lambda: Apply(lambda x: F.conv1d(x.flatten(2), torch.ones(4, 8, 3), padding=1)), 0),
    "conv transposed": (lambda: nn.ConvTranspose2d(3, 8, 4, 2, 1), 0),
    "conv transposed k2": (lambda: nn.ConvTranspose2d(3, 8, 2, 2), 0),
    "conv transposed k3": (lambda: nn.ConvTranspose2d(3, 8, 3, 2, 1, output_padding=1), 0),
    "conv transposed k3 s1": (lambda: nn.ConvTranspose2d(3, 8, 3, 1, 1), 0),
    "conv transposed groups": (
        lambda: seq(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 8, 2, 2, groups=2)),
        0,
    ),
    "conv transposed dilation": (lambda: nn.ConvTranspose2d(3, 4, 3, 1, dilation=2), 0),
    "conv transposed bn": (lambda: seq(nn.ConvTranspose2d(3, 4, 2, 2), vary(nn.BatchNorm2d(4))), 0),
    "max pool": (lambda: Apply(lambda x: F.max_pool2d(x, 2)), 0),
    "max pool pad": (lambda: Apply(lambda x: F.max_pool2d(x, 3, 2, 1)), 0),
    "max pool pad relu": (lambda: Apply(lambda x: F.max_pool2d(F.relu(x), 3, 2, 1)), 0),
    "max pool same": (lambda: Apply(lambda x: F.max_pool2d(x, 5, 1, 2)), 0),
    "max pool ceil": (lambda: Apply(lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)), 0),
    "max pool ceil far": (lambda: Apply(lambda x: F.max_pool2d(x, 4, 5, ceil_mode=True)), 0),
    "max pool dilation": (lambda: Apply(lambda x: F.max_pool2d(F.relu(x), 3, 1, 1, dilation=2)), 0),
    "avg pool": (lambda: Apply(lambda x: F.avg_pool2d(x, 2)), 0),
    "avg pool pad counted": (lambda: Apply(lambda x: F.avg_pool2d(x, 3, 2, 1)), 0),
    "avg pool pad": (
        lambda: Apply(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
        0,
    ),
    "avg pool same": (
        lambda: Apply(lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
        0,
    ),
    "avg pool ceil": (lambda: Apply(lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True)), 0),
    "avg pool ceil pad": (
        lambda: Apply(lambda x: F.avg_pool2d(x, 3, 2, 1, True, count_include_pad=True)),
        0,
    ),
    "global pools": (
        lambda: Apply(
            lambda x: torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1)
        ),
        0,
    ),
    "adaptive pool": (lambda: Apply(lambda x: F.adaptive_avg_pool2d(x, 4)), 0),
    "concat": (lambda: Apply(lambda x: torch.cat([x, F.relu(x), x[:, :2]], 1)), 0),
    "concat height": (lambda: Apply(lambda x: torch.cat([x, F.relu(x)], 2)), 0),
    "split": (lambda: Apply(split_and_join), 0),
    "slice": (lambda: Apply(lambda x: x[:, 1:-1:2, 2:, :-3]), 0),
    "flip slice": (lambda: Apply(lambda x: torch.flip(x, [3])), 0),
    "gather": (lambda: Apply(lambda x: x[:, [3, 1, 1]]), 0),
    "select": (lambda: Apply(lambda x: x[:, :, 2]), 1),
    "residual": (Residual, 0),
    "squeeze excite": (SqueezeExcite, 0),
    "linear excite": (LinearExcite, 0),
    "cbam": (Attention, 0),
    "arithmetic": (lambda: Apply(lambda x: (2 - x) / 3 + x * x.abs() - (x + 9).sqrt()), 0),
    "divide": (lambda: Apply(lambda x: x / (x.abs() + 1)), 0),
    "channel constant": (lambda: Apply(lambda x: x * torch.arange(8.0).view(1, 8, 1, 1)), 0),
    "plane constant": (lambda: Apply(lambda x: x + torch.arange(256.0).view(16, 16)), 0),
    "maximum": (lambda: Apply(lambda x: torch.maximum(x, x.mean((2, 3), keepdim=True))), 0),
    "where": (lambda: Apply(lambda x: torch.where(x > 0, x, 3 * x)), 0),
    "relu6": (lambda: seq(nn.Conv2d(3, 8, 1), nn.ReLU6()), 0),
    "clamp": (lambda: Apply(lambda x: x.clamp(-0.3, 0.4)), 0),
    "clamp low": (lambda: Apply(lambda x: x.clamp(min=-0.3)), 0),
    "hardswish": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Hardswish()), 0),
    "hardsigmoid": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Hardsigmoid()), 0),
    "hardtanh": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Hardtanh()), 0),
    "gelu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.GELU()), 0),
    "gelu tanh": (lambda: seq(nn.Conv2d(3, 8, 1), nn.GELU("tanh")), 0),
    "erf": (lambda: Apply(lambda x: torch.erf(x) + 2), 0),
    "silu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.SiLU()), 0),
    "mish": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Mish()), 0),
    "prelu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.PReLU(8, 0.2)), 0),
    "prelu one": (lambda: seq(nn.Conv2d(3, 8, 1), nn.PReLU()), 0),
    "leaky relu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.LeakyReLU(0.2)), 0),
    "elu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.ELU(0.7)), 0),
    "selu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.SELU()), 0),
    "celu": (lambda: seq(nn.Conv2d(3, 8, 1), nn.CELU(0.7)), 0),
    "softplus": (lambda: seq(nn.Conv2d(3, 8, 1), nn.Softplus()), 0),
    "tanh sigmoid": (lambda: Apply(lambda x: torch.tanh(x) * torch.sigmoid(x)), 0),
    "softmax channels": (lambda: Apply(lambda x: x.softmax(1)), 0),
    "log softmax": (lambda: Apply(lambda x: x.mean((2, 3)).log_softmax(1)), 0),
    "upsample nearest": (lambda: Apply(lambda x: F.interpolate(x, scale_factor=2)), 0),
    "upsample nearest size": (lambda: Apply(lambda x: F.interpolate(x, size=(32, 48))), 0),
    "upsample bilinear": (
        lambda: Apply(lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear")),
        0,
    ),
    "upsample corners": (
        lambda: Apply(
            lambda x: F.interpolate(x, size=(20, 24), mode="bilinear", align_corners=True)
        ),
        0,
    ),
    "pixel shuffle": (lambda: Apply(lambda x: F.pixel_shuffle(x, 2)), 0),
    "pixel unshuffle": (lambda: Apply(lambda x: F.pixel_unshuffle(x, 2)), 1),
    "channel shuffle": (lambda: Apply(channel_shuffle), 1),
    "flatten linear": (lambda: seq(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 196, 5)), 0),
    "view linear": (
        lambda: seq(Apply(lambda x: x.view(x.size(0), -1)), nn.Linear(8 * 256, 5)),
        0,
    ),
    "flatten relu linear": (
        lambda: seq(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(4 * 196, 5)),
        1,
    ),
    "pool flatten linear": (
        lambda: seq(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
        0,
    ),
    "linear without bias": (
        lambda: seq(nn.Flatten(), nn.Linear(768, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)),
        0,
    ),
    "permute norm": (
        lambda: seq(Apply(lambda x: x.permute(0, 2, 3, 1)), nn.LayerNorm(8), nn.Linear(8, 4)),
        1,
    ),
    "mean": (lambda: Apply(lambda x: x.mean((2, 3))), 0),
    "mean channels": (lambda: Apply(lambda x: x.mean(1)), 0),
    "sum max": (lambda: Apply(lambda x: x.sum(2) + x.amax(3)), 1),
    "std": (lambda: Apply(lambda x: x.var((2, 3))), 0),
    "batch norm": (lambda: seq(nn.ReLU(), vary(nn.BatchNorm2d(3))), 0),
    "batch norm 1d": (
        lambda: seq(Apply(lambda x: x.mean((2, 3))), vary(nn.BatchNorm1d(8)), nn.Linear(8, 3)),
        0,
    ),
    "instance norm": (lambda: seq(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8, affine=True)), 0),
    "group norm": (lambda: seq(nn.Conv2d(3, 8, 1), vary(nn.GroupNorm(2, 8))), 0),
    "layer norm": (lambda: seq(Apply(lambda x: x.mean((2, 3))), vary(nn.LayerNorm(8))), 0),
    "pad": (lambda: Apply(lambda x: F.pad(x, (1, 2, 0, 3))), 0),
    "pad value": (lambda: Apply(lambda x: F.pad(x, (1, 2, 0, 3), value=1.5)), 0),
    "pad reflect": (lambda: Apply(lambda x: F.pad(x, (2, 2, 2, 2), "reflect")), 0),
    "pad edge": (lambda: Apply(lambda x: F.pad(x, (2, 1, 1, 2), "replicate")), 0),
    "crop": (lambda: Apply(lambda x: F.pad(x, (-1, -2, 1, -1))), 0),
    "expand": (lambda: Apply(lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1) + 1), 0),
    "tile": (lambda: Apply(lambda x: x.repeat(1, 2, 1, 1)), 0),
    "einsum": (lambda: Apply(lambda x: torch.einsum("bchw,bdhw->bcd", x, x)), 2),
    "transformer": (Tokens, 3),
    "lstm": (lambda: Recurrent(nn.LSTM, False), 0),
    "lstm both ways": (lambda: Recurrent(nn.LSTM, True), 0),
    "gru": (lambda: Recurrent(nn.GRU, False), 0),
    "gru both ways": (lambda: Recurrent(nn.GRU, True), 0),
}
