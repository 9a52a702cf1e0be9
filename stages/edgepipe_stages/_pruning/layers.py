"""The layers of a network that can be pruned, and those that give its scores."""

from __future__ import annotations

import torch
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface
from edgepipe_stages._macs import blank_image

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)
"""Layers with a weight that is multiplied: convolutions and linear layers."""


def prunable_layers(module: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers of a network, by name.

    Raises:
        StageError: it has none.
    """
    layers: dict[str, nn.Module] = {
        name: part for name, part in module.named_modules() if isinstance(part, LAYERS)
    }
    if not layers:
        raise StageError(
            "the network has no layer that can be pruned",
            "pruning takes the weights of convolutions and linear layers (torch.nn.Conv2d, Linear)",
        )
    return layers


def output_layers(module: nn.Module, interface: Interface) -> list[nn.Module]:
    """The layers that make the scores: the last one that runs, and linear ones of that size."""
    ran: list[nn.Module] = []
    hooks = [
        part.register_forward_hook(lambda layer, *_: ran.append(layer))
        for part in module.modules()
        if isinstance(part, LAYERS)
    ]
    with torch.no_grad():
        module.eval()(blank_image(module, interface))
    for hook in hooks:
        hook.remove()
    classes = len(interface.classes)
    heads = [part for part in ran if isinstance(part, nn.Linear) and part.out_features == classes]
    return list(dict.fromkeys([*heads, *ran[-1:]]))
