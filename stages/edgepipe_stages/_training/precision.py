"""Which arithmetic a training uses: a rule, so that the same seed gives the same bytes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn


def uses_bfloat16(choice: Literal["auto", "float32", "bfloat16"], module: nn.Module) -> bool:
    """Whether convolutions run in bfloat16.

    Without AMX, or with a grouped convolution, bfloat16 is slower than float32 on processors.
    """
    if choice != "auto":
        return choice == "bfloat16"
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False)) and not has_groups(module)


def has_groups(module: nn.Module) -> bool:
    """Whether a convolution is grouped or depthwise."""
    return any(
        isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d) and part.groups > 1
        for part in module.modules()
    )
