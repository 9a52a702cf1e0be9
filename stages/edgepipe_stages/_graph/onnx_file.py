"""Reads an ONNX file, float or quantized, into a `Graph`.

Operators: https://onnx.ai/onnx/operators and ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import numpy_helper

from edgepipe.stage import StageError
from edgepipe_stages._graph import (
    Graph,
    Op,
    Product,
    canonical,
    dequantize,
    matrix_outputs_first,
    outputs_first,
)

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


def load(path: Path) -> onnx.ModelProto:
    """Read a model whose weights are all inside the file; calls of its own functions are inlined.

    Raises:
        StageError: the file is not an ONNX model, or keeps weights elsewhere.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's errors share no base that onnx names
        raise StageError(f"{path.name} is not a valid ONNX model: {error}") from error
    if any(tensor.external_data for graph in graphs(model) for tensor in graph.initializer):
        raise StageError(
            f"{path.name} keeps its weights in another file", "save it with the weights inside"
        )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise StageError(f"{path.name} is not a valid ONNX model: {error}") from error
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, then those inside of its operators, at any depth."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in inner_graphs(node)]


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The branches of an If, the bodies of a Loop and a Scan."""
    single = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return single + [graph for attribute in node.attribute for graph in attribute.graphs]


def read(model: onnx.ModelProto) -> Graph:
    """The main graph as a `Graph`; an operator bears its node's name, or its first output's."""
    constants = Constants(model.graph)
    ops = []
    for node in model.graph.node:
        if all(name in constants for name in node.output if name):
            continue
        inputs = tuple(name for name in node.input if name and name not in constants)
        outputs = tuple(name for name in node.output if name)
        product = _product(node, constants) if is_known(node, _OPERANDS) else None
        ops.append(Op(node.name or outputs[0], node.op_type, inputs, outputs, product))
    return Graph(tuple(ops), model.graph.output[0].name)


def is_known(node: onnx.NodeProto, types: Container[str]) -> bool:
    """Whether a node is of one of these types, and not of another library's by the same name."""
    return node.op_type in types and node.domain in ("", "ai.onnx", "com.microsoft")


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes, by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Constants:
    """A graph's tensors that do not depend on the image: those stored in it, and what a few
    operators that exporters put there make of them.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.values: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        for node in graph.node:
            value = self._fold(node)
            if value is not None:
                self.values[node.output[0]] = value

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.values[name]

    def _fold(self, node: onnx.NodeProto) -> NDArray[Any] | None:
        if node.op_type == "Constant":
            [value] = attributes(node).values()
            if isinstance(value, onnx.TensorProto):
                return numpy_helper.to_array(value)
            return None if isinstance(value, onnx.SparseTensorProto) else np.asarray(value)
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


def _product(node: onnx.NodeProto, constants: Constants) -> Product:
    data, weight, scale, zero = _OPERANDS[node.op_type]
    needed = [node.input[place] for place in (weight, scale) if place is not None]
    optional = [node.input[zero]] if zero is not None and len(node.input) > zero else []
    if any(name not in constants for name in needed + [name for name in optional if name]):
        return Product(node.input[data], None)
    given = attributes(node)
    values = constants[node.input[weight]]
    is_gemm, is_matrix = node.op_type in ("Gemm", "QGemm"), "MatMul" in node.op_type
    is_stored_outputs_first = not is_matrix and (not is_gemm or given.get("transB"))
    if scale is not None or zero is not None:
        values = dequantize(
            values,
            1.0 if scale is None else constants[node.input[scale]],
            constants[optional[0]] if optional and optional[0] else 0,
            0 if is_stored_outputs_first else -1,
        )
    if node.op_type == "ConvTranspose":
        values = outputs_first(values, given.get("group", 1))
    elif not is_stored_outputs_first:
        values = matrix_outputs_first(values)
    return Product(node.input[data], canonical(np.asarray(values, np.float32)))
