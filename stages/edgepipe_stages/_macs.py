"""How much work a network is."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgepipe_stages import Interface


def macs_and_params(module: nn.Module, interface: Interface) -> tuple[int, int]:
    """Multiply-accumulates for one image, and the number of parameters.

    Convolutions, linear layers, matrix products and attention count; activations, norms and
    additions do not, as is the custom.
    """
    parameter = next(module.parameters(), torch.zeros(()))
    image = torch.zeros(interface.shape, device=parameter.device, dtype=parameter.dtype)
    training = module.training
    module.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(image)
    finally:
        module.train(training)
    return counter.get_total_flops() // 2, sum(p.numel() for p in module.parameters())
