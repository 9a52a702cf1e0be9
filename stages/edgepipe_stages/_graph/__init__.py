"""A model file as a plain graph of operators, whichever runtime it is for.

`onnx_file` and `tflite_file` read one for parity checks; `onnx_work` and `tflite_work` count the
work of all operators, those of inner graphs too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """What a convolution or a matrix product multiplies."""

    data: str
    """The tensor that is multiplied with the weights, or the first of two activations."""
    weight: NDArray[Any] | None
    """Real numbers: outputs × inputs a group × kernel height × width. A kernel of one pixel is left
    out. None where the weights are computed, or integers of a scale that is."""


@dataclass(frozen=True)
class Op:
    """One operator."""

    name: str
    """As the runtime's viewers show it."""
    type: str
    inputs: tuple[str, ...]
    """Tensors that are computed from the image; constants are left out."""
    outputs: tuple[str, ...]
    product: Product | None = None

    @property
    def weighs(self) -> bool:
        """Whether it multiplies with weights."""
        return self.product is not None and self.product.weight is not None

    def __str__(self) -> str:
        return f"{self.type} '{self.name}'"


@dataclass(frozen=True)
class Graph:
    """Operators in the order of execution."""

    ops: tuple[Op, ...]
    output: str

    @property
    def products(self) -> list[Op]:
        """The convolutions and matrix products."""
        return [op for op in self.ops if op.product]

    def producer(self, tensor: str) -> Op | None:
        """The operator that makes a tensor; None for the graph's input."""
        return self._producers().get(tensor)

    def feeding(self, tensor: str) -> list[Op]:
        """The products with weights that a tensor depends on, with no other such between."""
        found = {id(op) for op in self._before(tensor) if op.weighs}
        return [op for op in self.ops if id(op) in found]

    def adds_branches(self, tensor: str) -> bool:
        """Whether two branches are added between those products and a tensor."""
        return any(
            op.type.lower() in ("add", "sum", "qlinearadd") and len(op.inputs) > 1
            for op in self._before(tensor)
        )

    def _before(self, tensor: str) -> Iterator[Op]:
        """The operators that a tensor depends on, up to the products with weights and with them."""
        producers = self._producers()
        seen: set[str] = set()
        waiting = [tensor]
        while waiting:
            name = waiting.pop()
            op = producers.get(name)
            if name in seen or op is None:
                continue
            seen.add(name)
            yield op
            if not op.weighs:
                waiting += op.inputs

    def back(self, tensor: str) -> Iterator[str]:
        """A tensor, then those that it is made from, along first inputs, up to a product."""
        producers = self._producers()
        while True:
            yield tensor
            op = producers.get(tensor)
            if op is None or op.product or not op.inputs:
                return
            tensor = op.inputs[0]

    def _producers(self) -> dict[str, Op]:
        return {name: op for op in self.ops for name in op.outputs}


def canonical(weight: NDArray[Any]) -> NDArray[Any]:
    """Leave out a kernel of one pixel: a 1 × 1 convolution and a matrix product look alike."""
    while weight.ndim > 2 and weight.shape[-1] == 1:
        weight = weight[..., 0]
    return weight


def matrix_outputs_first(weight: NDArray[Any]) -> NDArray[Any]:
    """A matrix product's second factor (… × inputs × outputs, or inputs) as a linear layer's."""
    import numpy as np

    return weight[None] if weight.ndim == 1 else np.swapaxes(weight, -1, -2)


def outputs_first(weight: NDArray[Any], groups: int) -> NDArray[Any]:
    """A transposed convolution's weight (inputs × outputs a group × …), as a convolution's."""
    import numpy as np

    parts = np.split(weight, groups)
    return np.concatenate([np.swapaxes(part, 0, 1) for part in parts])


def dequantize(values: NDArray[Any], scale: Any, zero_point: Any, axis: int) -> NDArray[Any]:
    """Integers as real numbers: ``(values - zero_point) * scale``, by channel along ``axis``.

    A scale or zero point of as many axes as ``values`` is spread as it is.
    """
    import numpy as np

    def spread(given: Any) -> NDArray[Any]:
        numbers: NDArray[Any] = np.asarray(given, np.float32)
        if numbers.ndim == values.ndim > 1:
            return numbers
        numbers = numbers.reshape(-1)
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        return numbers if numbers.size == 1 else numbers.reshape(shape)

    axis %= max(values.ndim, 1)
    result: NDArray[Any] = (values.astype(np.float32) - spread(zero_point)) * spread(scale)
    return result
