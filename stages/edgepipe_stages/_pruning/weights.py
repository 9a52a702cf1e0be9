"""Unstructured pruning: single weights become zero."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages._pruning.layers import prunable_layers


class Mask:
    """Which weights of a network are zero, and keeps them so."""

    def __init__(self, zeros: dict[str, tuple[Tensor, Tensor]]) -> None:
        self.zeros = zeros

    @classmethod
    def smallest(
        cls,
        module: nn.Module,
        sparsity: float,
        scope: Literal["layer", "global"],
        skip: list[nn.Module],
    ) -> Mask:
        """The weights of the smallest magnitude, exactly a share ``sparsity``, rounded.

        Args:
            module: the weights of its convolutions and linear layers are looked at.
            sparsity: the share.
            scope: of each layer's weights, or of all together.
            skip: layers to leave alone.

        Raises:
            StageError: there is no such layer, or one computes its weight.
        """
        weights = {
            f"{name}.weight" if name else "weight": _parameter(name, part)
            for name, part in prunable_layers(module).items()
            if part not in skip
        }
        if scope == "layer":
            zeros = {name: _smallest(weight, sparsity) for name, weight in weights.items()}
        else:
            together = torch.cat(
                [torch.zeros(0), *(w.detach().flatten() for w in weights.values())]
            )
            parts = torch.split(
                _smallest(together, sparsity), [w.numel() for w in weights.values()]
            )
            zeros = {
                name: part.view(weight.shape)
                for (name, weight), part in zip(weights.items(), parts, strict=True)
            }
        return cls({name: (weights[name], zeros[name]) for name in weights})

    @torch.no_grad()
    def apply(self) -> None:
        """Set the weights to zero."""
        for weight, zero in self.zeros.values():
            weight.masked_fill_(zero, 0.0)

    def sparsities(self) -> dict[str, float]:
        """The share of zeros in each layer's weights, by the name of the parameter."""
        return {name: _zeros(weight) / weight.numel() for name, (weight, _) in self.zeros.items()}

    def sparsity(self) -> float:
        """The share of zeros in all weights that were looked at."""
        total = sum(weight.numel() for weight, _ in self.zeros.values())
        return sum(_zeros(weight) for weight, _ in self.zeros.values()) / max(1, total)


def _parameter(name: str, layer: nn.Module) -> Tensor:
    weight = layer.weight
    if not isinstance(weight, nn.Parameter):
        raise StageError(
            f"the weight of layer '{name}' is computed, so zeros in it would not stay",
            "make it an nn.Parameter of its own, or compute it with torch.nn.utils.parametrize",
        )
    return weight


def _zeros(weight: Tensor) -> int:
    return int((weight == 0).sum())


def _smallest(weight: Tensor, share: float) -> Tensor:
    """A mask of exactly that share of a tensor; of equal magnitudes the first ones."""
    flat = weight.detach().abs().flatten()
    chosen = torch.zeros(flat.shape, dtype=torch.bool)
    chosen[flat.argsort(stable=True)[: round(share * flat.numel())]] = True
    return chosen.view(weight.shape)
