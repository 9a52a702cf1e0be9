"""How much work a network is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from edgepipe_stages import Interface
from edgepipe_stages._work import Work


def macs_and_params(module: nn.Module, interface: Interface) -> tuple[int, int]:
    """Multiply-accumulates for one image, and the number of parameters; see `work_of`."""
    work = work_of(module, interface)
    return work.macs, work.parameters


def work_of(module: nn.Module, interface: Interface) -> Work:
    """What one image costs; of operators that another library brings, nothing is known."""
    image = blank_image(module, interface)
    training = module.training
    fused = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    try:
        # One operator for a whole attention or encoder layer would hide its products.
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), _Counter() as counter:
            module(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        module.train(training)
    parameters = sum(p.numel() for p in module.parameters())
    return Work(counter.macs, parameters, tuple(counter.uncounted))


def blank_image(module: nn.Module, interface: Interface) -> Tensor:
    """One image for the network, of zeros, of its parameters' type and on their device."""
    parameter = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(()))
    return torch.zeros(interface.shape, device=parameter.device, dtype=parameter.dtype)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts as torch.utils.flop_counter does, whose own mode imports all of torch._dynamo: 2 s."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.uncounted: dict[str, None] = {}

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
        operator = func.overloadpacket
        library, _, name = str(operator).partition(".")
        if library == "aten":
            # What works in place computes the same.
            name = name.removesuffix("_")
            operator = getattr(torch.ops.aten, name, operator)
        formula: Callable[..., int] | None = flop_registry.get(operator)
        if formula is not None:
            self.macs += formula(*args, **(kwargs or {}), out_val=result) // 2
        elif name in _MACS:
            self.macs += _MACS[name](*args)
        elif library not in ("aten", "prim", "prims", "profiler"):
            self.uncounted[str(operator)] = None
        return result


def _product(a: Tensor, b: Tensor) -> int:
    return a.numel() * b.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return pairs * (query.shape[-1] + value.shape[-1])


def _recurrent(sequence: Tensor, of_input: Tensor, of_state: Tensor, *_: Any) -> int:
    return sequence.shape[:-1].numel() * (of_input.numel() + of_state.numel())


def _trilinear(a: Tensor, b: Tensor, c: Tensor, *expanded: Any) -> int:
    shapes = []
    for tensor, places in zip((a, b, c), expanded, strict=False):
        shape = list(tensor.shape)
        for place in sorted(places):
            shape.insert(place, 1)
        shapes.append(shape)
    return math.prod(map(max, *shapes))


_MACS: dict[str, Callable[..., int]] = {
    "_addmm_activation": lambda _, a, b: _product(a, b),
    "_int_mm": _product,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_trilinear": _trilinear,
    "addbmm": lambda _, a, b: _product(a, b),
    "addmv": lambda _, matrix, vector: matrix.numel(),
    "conv_tbc": lambda x, weight, bias, pad=0: (
        (x.shape[0] + 2 * pad - weight.shape[0] + 1) * x.shape[1] * weight.numel()
    ),
    "dot": lambda a, b: a.numel(),
    "mkldnn_rnn_layer": _recurrent,
    "mv": lambda matrix, vector: matrix.numel(),
    "vdot": lambda a, b: a.numel(),
}
"""Operators that torch's own table lacks."""
