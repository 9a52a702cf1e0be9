"""Reads an ONNX file, float or quantized, into a `Graph`.

Operators: https://onnx.ai/onnx/operators and ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgepipe.stage import StageError
from edgepipe_stages._graph import Graph, Op, Product, canonical, dequantize, outputs_first

_OPERANDS: dict[str, tuple[int, int, int | None, int | None]] = {
    "Conv": (0, 1, None, None),
    "ConvTranspose": (0, 1, None, None),
    "Gemm": (0, 1, None, None),
    "MatMul": (0, 1, None, None),
    "ConvInteger": (0, 1, None, 3),
    "MatMulInteger": (0, 1, None, 3),
    "QLinearConv": (0, 3, 4, 5),
    "QLinearMatMul": (0, 3, 4, 5),
    "QGemm": (0, 3, 4, 5),
}
"""Where data, weight, the weight's scale and zero point stand among an operator's inputs."""

_QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}


def load(path: Path) -> onnx.ModelProto:
    """Read a model whose weights are all inside the file.

    Raises:
        StageError: the file is not an ONNX model, or keeps weights elsewhere.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors share no base that onnx names
        raise StageError(f"{path.name} is not a valid ONNX model: {error}") from error
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise StageError(
            f"{path.name} keeps its weights in another file", "save it with the weights inside"
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise StageError(f"{path.name} is not a valid ONNX model: {error}") from error
    return model


def read(model: onnx.ModelProto) -> Graph:
    """The model as a `Graph`; an operator bears its node's name, or its first output's."""
    constants = _Constants(model)
    ops = []
    for node in model.graph.node:
        if all(name in constants for name in node.output if name):
            continue
        inputs = tuple(name for name in node.input if name and name not in constants)
        outputs = tuple(name for name in node.output if name)
        product = _product(node, constants) if node.op_type in _OPERANDS else None
        ops.append(Op(node.name or outputs[0], node.op_type, inputs, outputs, product))
    return Graph(tuple(ops), model.graph.output[0].name, _parameters(model, constants))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes, by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class _Constants:
    """Tensors that do not depend on the image, with the few operators that exporters put there."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.values: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        for node in model.graph.node:
            value = self._fold(node)
            if value is not None:
                self.values[node.output[0]] = value

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values[name]

    def _fold(self, node: onnx.NodeProto) -> NDArray[Any] | None:
        if node.op_type == "Constant":
            value = attributes(node).get("value")
            return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else None
        if not node.input or any(name and name not in self.values for name in node.input):
            return None
        operands = [self.values[name] for name in node.input if name]
        given = attributes(node)
        if node.op_type == "DequantizeLinear":
            zero = operands[2] if len(operands) > 2 else 0
            return dequantize(operands[0], operands[1], zero, given.get("axis", 1))
        if node.op_type == "Transpose":
            turned: NDArray[Any] = np.transpose(operands[0], given.get("perm"))
            return turned
        if node.op_type in ("Identity", "Cast"):
            return operands[0]
        return None


def _product(node: onnx.NodeProto, constants: _Constants) -> Product:
    data, weight, scale, zero = _OPERANDS[node.op_type]
    given = attributes(node)
    output = node.output[0]
    if node.input[weight] not in constants:
        inner = -2 if node.op_type == "Gemm" and given.get("transA") else -1
        return Product(node.input[data], None, output, 1, inner)
    values = constants[node.input[weight]]
    if node.op_type in ("Gemm", "QGemm"):
        values = values if given.get("transB") else values.T
    elif "MatMul" in node.op_type:
        values = np.swapaxes(values, -1, -2)
    elif node.op_type == "ConvTranspose":
        turned = canonical(outputs_first(np.asarray(values, np.float32), given.get("group", 1)))
        return Product(node.input[data], turned, node.input[data], values.shape[0])
    if scale is not None or zero is not None:
        values = dequantize(
            values,
            1.0 if scale is None else constants[node.input[scale]],
            constants[node.input[zero]] if zero is not None and len(node.input) > zero else 0,
            0,
        )
    values = canonical(np.asarray(values, np.float32))
    return Product(node.input[data], values, output, values.shape[0])


def _parameters(model: onnx.ModelProto, constants: _Constants) -> int:
    """Numbers in constants that are weights: not shapes, scales, zero points or single numbers."""
    weights: set[str] = set()
    for node in model.graph.node:
        given = [name for name in node.input if name]
        if node.op_type in _QUANTIZERS:
            weights |= set(given[:1])
        elif node.op_type in ("QLinearConv", "QLinearMatMul", "QGemm"):
            weights |= {given[3]} | set(given[8:9])
        elif node.op_type in ("ConvInteger", "MatMulInteger"):
            weights |= set(given[1:2])
        else:
            weights |= {
                name
                for name in given
                if name in constants and np.issubdtype(constants[name].dtype, np.floating)
            }
    stored = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    stored |= {
        node.output[0]: constants[node.output[0]].size
        for node in model.graph.node
        if node.op_type == "Constant" and node.output[0] in constants
    }
    return sum(size for name, size in stored.items() if name in weights and size > 1)
