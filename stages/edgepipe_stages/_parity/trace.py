"""Records what a PyTorch module computes: each product, its input, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgepipe_stages._graph import canonical, matrix_outputs_first, outputs_first

_DATA_AND_WEIGHT = {
    "convolution": (0, 1),
    "addmm": (1, 2),
    "mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "addmv": (1, 2),
}
"""Where they stand among the arguments of ATen's operators."""

_VIEWS = {"view", "_unsafe_view", "as_strided", "as_strided_", "squeeze", "unsqueeze", "alias"}
"""What only gives a tensor another shape: whoever made the tensor is worth naming."""


@dataclass
class Made:
    """A tensor that a module made."""

    path: str
    """The module's name in the network; empty for the network itself."""
    operator: str
    """ATen's name of the operator."""
    values: NDArray[np.float32]
    flattened: int = 0
    """Channels of the images that were flattened to rows; 0 if they were not."""

    def __str__(self) -> str:
        return f"'{self.path}' ({self.operator})" if self.path else self.operator


@dataclass
class TorchProduct:
    """A convolution or a matrix product with constant weights."""

    path: str
    weight: NDArray[np.float32]
    """As in `edgepipe_stages._graph.Product`."""
    data: Made
    """Its input, and what made that."""
    made: list[Made] = field(default_factory=list)
    """Its output, and all that is computed from it before the next product."""


@dataclass
class Trace:
    """What a network computed for some images."""

    products: list[TorchProduct]
    output: Made


def trace(module: nn.Module, images: NDArray[np.float32]) -> Trace:
    """Run a module on normalized images, N × C × H × W, and record its products in order."""
    recorder = _Recorder()
    image = torch.from_numpy(images)
    with torch.no_grad(), _paths(module, recorder), recorder:
        recorder.start(image)
        output = module(image)
    return Trace(recorder.products, recorder.made[id(output)])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path: list[str] = [""]
        self.products: list[TorchProduct] = []
        self.made: dict[int, Made] = {}
        self._owner: dict[int, int] = {}
        # While a tensor lives, no other has its id.
        self._alive: list[Tensor] = []

    def start(self, image: Tensor) -> None:
        self._keep(image, Made("", "image", image.numpy()), -1)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        operands = list(_tensors(args)) + list(_tensors(list((kwargs or {}).values())))
        owners = [self._owner[id(t)] for t in operands if id(t) in self._owner]
        if not owners:
            return result
        owner = max(owners)
        if name in _DATA_AND_WEIGHT:
            data, weight = (args[i] for i in _DATA_AND_WEIGHT[name])
            if id(weight) not in self._owner:
                owner = len(self.products)
                values = _weight(name, weight, args)
                self.products.append(TorchProduct(self.path[-1], values, self.made[id(data)]))
        for tensor in (t for t in _tensors([result]) if t.numel()):
            made = Made(self.path[-1], name, _numpy(tensor))
            if name in _VIEWS:
                before = self.made[id(operands[0])]
                made = replace(before, values=made.values, flattened=_flattened(before, made))
            self._keep(tensor, made, owner)
            if owner >= 0:
                self.products[owner].made.append(made)
        return result

    def _keep(self, tensor: Tensor, made: Made, owner: int) -> None:
        self._alive.append(tensor)
        self.made[id(tensor)] = made
        self._owner[id(tensor)] = owner


@contextmanager
def _paths(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Let the recorder know which module is running."""

    def leave(*_: Any) -> None:
        recorder.path.pop()

    handles = []
    for name, part in module.named_modules():
        handles += [
            part.register_forward_pre_hook(lambda *_, name=name: recorder.path.append(name)),
            part.register_forward_hook(leave),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _flattened(before: Made, after: Made) -> int:
    if before.values.ndim == 4 and after.values.ndim == 2:
        return int(before.values.shape[1])
    return before.flattened if after.values.ndim == 2 else 0


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    # A copy: the next operator may work in place.
    result: NDArray[np.float32] = tensor.detach().to(torch.float32, copy=True).numpy()
    return result


def _weight(operator: str, weight: Tensor, args: Any) -> NDArray[np.float32]:
    values = _numpy(weight)
    if operator != "convolution":
        values = matrix_outputs_first(values)
    elif args[6]:
        values = outputs_first(values, args[8])
    return canonical(values)
