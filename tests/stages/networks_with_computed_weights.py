"""A user's networks whose layers compute their weights from other tensors."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm


class Plain(nn.Module):
    """Two convolutions; `changed` says how the second one and the first layer get weights."""

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 3, 2, 1)
        self.second = self.changed(nn.Conv2d(16, 24, 3, 2, 1))
        self.hidden = self.changed(nn.Linear(24, 16))
        self.head = nn.Linear(16, num_classes)

    def changed(self, layer: nn.Module) -> nn.Module:
        return layer

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu()).relu()
        scores: Tensor = self.head(self.hidden(x.mean((2, 3))).relu())
        return scores


class WeightNorm(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        return parametrizations.weight_norm(layer)


class OldWeightNorm(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return weight_norm(layer)


class SpectralNorm(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        return parametrizations.spectral_norm(layer)


class OldSpectralNorm(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        return spectral_norm(layer)


class Masked(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        prune.l1_unstructured(layer, "weight", 0.3)
        prune.random_unstructured(layer, "bias", 0.5)
        return layer


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.flip(0)


class Own(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        parametrize.register_parametrization(layer, "weight", Symmetric())
        return layer


class Scaled(nn.Linear):
    """Computes its weight in a way that nobody can know."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        return self.raw * 2

    def __init__(self, inputs: int, outputs: int) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = inputs, outputs
        self.raw = nn.Parameter(torch.rand(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))


class Unknown(Plain):
    def changed(self, layer: nn.Module) -> nn.Module:
        return Scaled(24, 16) if isinstance(layer, nn.Linear) else layer
