"""What several architectures share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
}


def replace_activations(model: nn.Module, activation: str) -> None:
    """Put ``activation`` in the place of every activation that is not a gate, in place."""
    if activation == "default":
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, tuple(_ACTIVATIONS.values())):
                setattr(module, name, _ACTIVATIONS[activation](inplace=True))


def divisible(value: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``value``, at most a tenth below it.

    The rounding of the MobileNets (Sandler et al., 2018).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def strides(published: list[int], unstrided: int) -> list[int]:
    """The published strides, the first ``unstrided`` of those above 1 set to 1."""
    above = [i for i, stride in enumerate(published) if stride > 1][:unstrided]
    return [1 if i in above else stride for i, stride in enumerate(published)]


class ConvNormAct(nn.Sequential):
    """A convolution that keeps the size (but for its stride), batch norm, an activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[..., nn.Module] | None = nn.ReLU,
        eps: float = 1e-5,
    ) -> None:
        padding = (kernel - 1) // 2
        layers = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=eps),
        ]
        super().__init__(*layers, *([activation(inplace=True)] if activation else []))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate that looks at the mean of all (Hu et al., 2018)."""

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: Callable[..., nn.Module],
        gate: Callable[..., nn.Module],
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation(inplace=True)
        self.scale_activation = gate()

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        product: Tensor = self.scale_activation(scale) * x
        return product


def initialize(model: nn.Module) -> None:
    """He's initialization of convolutions, ones and zeros for norms, small linear weights."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
