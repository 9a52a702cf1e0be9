"""torch's functions by name, wherever they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def functions(names: str) -> set[Any]:
    """The functions and methods of these names, separated by blanks."""
    owners = (torch, Tensor, nn.functional)
    return {
        getattr(owner, name) for name in names.split() for owner in owners if hasattr(owner, name)
    }
