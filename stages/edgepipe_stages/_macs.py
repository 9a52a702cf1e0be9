"""How much work a network is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

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
        with torch.no_grad(), _Counter() as counter:
            module(image)
    finally:
        module.train(training)
    return counter.flops // 2, sum(p.numel() for p in module.parameters())


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts as torch.utils.flop_counter does, whose own mode imports all of torch._dynamo: 2 s."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        formula: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result
