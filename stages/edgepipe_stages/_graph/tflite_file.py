"""Reads a TFLite flatbuffer into a `Graph`. Its schema: tensorflow/compiler/mlir/lite/schema.

A tensor is named by its number in the subgraph, since names need not be unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgepipe.stage import StageError
from edgepipe_stages._graph import (
    Graph,
    Op,
    Product,
    Shape,
    canonical,
    dequantize,
    matrix_outputs_first,
)

_DTYPES: dict[int, type[np.generic]] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT64: np.float64,
    schema.TensorType.INT4: np.int8,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.UINT16: np.uint16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.UINT32: np.uint32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.BOOL: np.bool_,
}

_OPERANDS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "BATCH_MATMUL": (0, 1),
}
"""Where data and weight stand among an operator's inputs."""


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers; one scale, or one a channel along ``axis``."""

    scale: NDArray[Any]
    zero_point: NDArray[Any]
    axis: int


@dataclass(frozen=True)
class Operator:
    """One operator of a subgraph."""

    name: str
    """Its number and its first output's name."""
    type: str
    """As the schema calls it; a custom one by its own code."""
    is_custom: bool
    inputs: tuple[int, ...]
    """Tensors; -1 for one that is not given."""
    outputs: tuple[int, ...]
    table: Any
    """The flatbuffer's own."""

    def options(self, kind: Callable[[], Any]) -> Any:
        """Its options, which are of this kind of the schema's."""
        found = self.table.BuiltinOptions() or self.table.BuiltinOptions2()
        options = kind()
        options.Init(found.Bytes, found.Pos)
        return options

    def __str__(self) -> str:
        return f"{self.type} '{self.name}'"


class File:
    """A subgraph of a flatbuffer; the main one, until `subgraph` gives another."""

    def __init__(self, path: Path) -> None:
        """Read ``path``.

        Raises:
            StageError: it is not a TFLite model.
        """
        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise StageError(f"{path.name} is not a TFLite flatbuffer")
        self._model = schema.Model.GetRootAs(content, 0)
        self._graph = self._model.Subgraphs(0)
        self._types = _operator_names()

    def subgraph(self, number: int) -> File:
        """Another subgraph of the same file."""
        other = copy(self)
        other._graph = self._model.Subgraphs(number)
        return other

    def shape(self, tensor: int) -> Shape:
        """Its shape; an open dimension counts as 1."""
        return tuple(int(n) for n in _vector(self._graph.Tensors(tensor), "Shape"))

    @property
    def is_open(self) -> bool:
        """Whether shapes depend on what the model is given."""
        tensors = map(self._graph.Tensors, range(self._graph.TensorsLength()))
        return any((_vector(tensor, "ShapeSignature") < 0).any() for tensor in tensors)

    def name(self, tensor: int) -> str:
        """The tensor's name."""
        return (self._graph.Tensors(tensor).Name() or b"").decode()

    def quantization(self, tensor: int) -> Quantization | None:
        """None for a tensor of real numbers."""
        found = self._graph.Tensors(tensor).Quantization()
        if found is None or not found.ScaleLength():
            return None
        zero_point = found.ZeroPointAsNumpy() if found.ZeroPointLength() else np.zeros(1)
        return Quantization(
            np.asarray(found.ScaleAsNumpy()), np.asarray(zero_point), found.QuantizedDimension()
        )

    def constant(self, tensor: int) -> NDArray[Any] | None:
        """The stored values; None for a tensor that is computed."""
        entry = self._graph.Tensors(tensor)
        buffer = self._model.Buffers(entry.Buffer())
        dtype = _DTYPES.get(entry.Type())
        if not buffer.DataLength() or dtype is None:
            return None
        values: NDArray[Any] = buffer.DataAsNumpy()
        shape = self.shape(tensor)
        if entry.Type() == schema.TensorType.INT4:
            values = _nibbles(values)[: prod(shape)]
        return values.view(dtype).reshape(shape)

    def real(self, tensor: int) -> NDArray[Any] | None:
        """The stored values as real numbers."""
        values = self.constant(tensor)
        rule = self.quantization(tensor)
        if values is None or rule is None:
            return values
        return dequantize(values, rule.scale, rule.zero_point, rule.axis)

    def operators(self) -> Iterator[Operator]:
        """The operators in the order of execution."""
        for number in range(self._graph.OperatorsLength()):
            table = self._graph.Operators(number)
            inputs, outputs = (
                tuple(int(i) for i in _vector(table, side)) for side in ("Inputs", "Outputs")
            )
            code = self._model.OperatorCodes(table.OpcodeIndex())
            type_ = self._types[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            is_custom = type_ == "CUSTOM"
            if is_custom:
                type_ = (code.CustomCode() or b"CUSTOM").decode()
            name = f"{number}: {self.name(outputs[0]) if outputs else ''}"
            yield Operator(name, type_, is_custom, inputs, outputs, table)

    def read(self) -> Graph:
        """The `Graph`; an operator bears the name of its first output."""
        sources = {i: i for i in range(self._graph.TensorsLength()) if self.constant(i) is not None}
        ops = []
        for op in self.operators():
            if op.inputs and all(i in sources for i in op.inputs if i >= 0):
                if op.type == "DEQUANTIZE":
                    sources[op.outputs[0]] = sources[op.inputs[0]]
                continue
            product = self._product(op, sources) if op.type in _OPERANDS else None
            computed = tuple(str(i) for i in op.inputs if i >= 0 and i not in sources)
            ops.append(Op(op.name, op.type, computed, tuple(map(str, op.outputs)), product))
        return Graph(tuple(ops), str(int(_vector(self._graph, "Outputs")[0])))

    @property
    def parameters(self) -> int:
        """How many weights and biases this subgraph holds; shapes and single numbers are none."""
        loops = [op for op in self.operators() if op.type == "WHILE"]
        # Zeros that a loop starts from are its state and what it writes results to.
        starts = {i for op in loops for i in op.inputs if i >= 0 and self._is_zero(i)}
        tensors = set(range(self._graph.TensorsLength()))
        return sum(map(self._counted, tensors - starts))

    def _product(self, op: Operator, sources: dict[int, int]) -> Product:
        data, weight = (op.inputs[place] for place in _OPERANDS[op.type])
        values = self.real(sources[weight]) if weight in sources else None
        if values is None:
            return Product(str(data), None)
        if op.type == "BATCH_MATMUL":
            if not op.options(schema.BatchMatMulOptions).AdjY():
                values = matrix_outputs_first(values)
        elif op.type == "DEPTHWISE_CONV_2D":
            values = values.transpose(3, 0, 1, 2)
        elif values.ndim == 4:
            values = values.transpose(0, 3, 1, 2)
        return Product(str(data), canonical(np.asarray(values, np.float32)))

    def _is_zero(self, tensor: int) -> bool:
        values = self.constant(tensor)
        return values is not None and not values.any()

    def _counted(self, tensor: int) -> int:
        values = self.constant(tensor)
        if values is None or values.size < 2:
            return 0
        whole = np.issubdtype(values.dtype, np.integer)
        return 0 if whole and self.quantization(tensor) is None else int(values.size)


@cache
def _operator_names() -> dict[int, str]:
    return {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int)
    }


def _nibbles(packed: NDArray[Any]) -> NDArray[Any]:
    """Integers of 4 bits, two to a byte, the lower first, as bytes."""
    each = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)
    return ((each ^ 8) - np.uint8(8)).astype(np.uint8)


def _vector(table: Any, field: str) -> NDArray[Any]:
    """Flatbuffers gives 0 for a vector that is absent."""
    if not getattr(table, f"{field}Length")():
        return np.zeros(0, np.int32)
    values: NDArray[Any] = getattr(table, f"{field}AsNumpy")()
    return values
