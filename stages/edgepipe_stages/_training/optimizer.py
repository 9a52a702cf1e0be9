"""The optimizer of a module."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from edgepipe.stage import StageError
from edgepipe_stages._training.settings import Training


def optimizer_of(module: nn.Module, settings: Training) -> Optimizer:
    """AdamW or SGD in one fused kernel; weights decay, biases and norms do not.

    Raises:
        StageError: no parameter can be trained.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise StageError(
            "the network has no parameters that can be trained",
            "give it layers with weights, or leave requires_grad of some as it is",
        )
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        fused=True,
    )
