"""Reads a TFLite flatbuffer into a `Graph`. Its schema: tensorflow/compiler/mlir/lite/schema.

A tensor is named by its number in the main subgraph, since names need not be unique.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgepipe.stage import StageError
from edgepipe_stages._graph import Graph, Op, Product, Shape, canonical, dequantize

_DTYPES: dict[int, type[np.generic]] = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
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


class File:
    """The main subgraph of a flatbuffer."""

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

    def shape(self, tensor: int) -> Shape:
        """Its shape; an open dimension counts as 1."""
        return tuple(int(n) for n in _vector(self._graph.Tensors(tensor), "Shape"))

    def shapes(self) -> dict[str, Shape]:
        """The shapes of all tensors."""
        return {str(i): self.shape(i) for i in range(self._graph.TensorsLength())}

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
        values: NDArray[Any] = buffer.DataAsNumpy().view(dtype)
        return values.reshape(self.shape(tensor))

    def real(self, tensor: int) -> NDArray[Any] | None:
        """The stored values as real numbers."""
        values = self.constant(tensor)
        rule = self.quantization(tensor)
        if values is None or rule is None:
            return values
        return dequantize(values, rule.scale, rule.zero_point, rule.axis)

    def read(self) -> Graph:
        """The `Graph`; an operator bears the name of its first output."""
        weights = {i for i in range(self._graph.TensorsLength()) if self.constant(i) is not None}
        sources = {i: i for i in weights}
        ops = []
        for number in range(self._graph.OperatorsLength()):
            operator = self._graph.Operators(number)
            inputs = [int(i) for i in _vector(operator, "Inputs")]
            outputs = [int(i) for i in _vector(operator, "Outputs")]
            type_ = self._type(operator)
            if inputs and all(i in sources for i in inputs if i >= 0):
                if type_ == "DEQUANTIZE":
                    sources[outputs[0]] = sources[inputs[0]]
                continue
            product = self._product(operator, type_, sources) if type_ in _OPERANDS else None
            computed = tuple(str(i) for i in inputs if i >= 0 and i not in sources)
            names = tuple(map(str, outputs))
            ops.append(Op(f"{number}: {self.name(outputs[0])}", type_, computed, names, product))
        stored = (self._counted(i) for i in sorted(weights))
        output = str(int(_vector(self._graph, "Outputs")[0]))
        return Graph(tuple(ops), output, sum(stored))

    def _type(self, operator: Any) -> str:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if self._types[number] == "CUSTOM":
            return (code.CustomCode() or b"CUSTOM").decode()
        return self._types[number]

    def _product(self, operator: Any, type_: str, sources: dict[int, int]) -> Product:
        data, weight = (int(operator.Inputs(i)) for i in _OPERANDS[type_])
        output = str(operator.Outputs(0))
        values = self.real(sources[weight]) if weight in sources else None
        if values is None:
            return Product(str(data), None, output, 1, -2 if _adjoint(operator, type_) else -1)
        if type_ == "BATCH_MATMUL":
            values = np.swapaxes(values, -1, -2)
        elif type_ == "DEPTHWISE_CONV_2D":
            values = values.transpose(3, 0, 1, 2)
        elif values.ndim == 4:
            values = values.transpose(0, 3, 1, 2)
        values = canonical(np.asarray(values, np.float32))
        if type_ == "TRANSPOSE_CONV":
            return Product(str(data), values, str(data), values.shape[1])
        return Product(str(data), values, output, values.shape[0])

    def _counted(self, tensor: int) -> int:
        """How many weights or biases it holds; shapes and single numbers are none."""
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


def _adjoint(operator: Any, type_: str) -> bool:
    """Whether the first of two activations is multiplied transposed."""
    if type_ != "BATCH_MATMUL":
        return False
    options = schema.BatchMatMulOptions()
    options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
    return bool(options.AdjX())


def _vector(table: Any, field: str) -> NDArray[Any]:
    """Flatbuffers gives 0 for a vector that is absent."""
    if not getattr(table, f"{field}Length")():
        return np.zeros(0, np.int32)
    values: NDArray[Any] = getattr(table, f"{field}AsNumpy")()
    return values
