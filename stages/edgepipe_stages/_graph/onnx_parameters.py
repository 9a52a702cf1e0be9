"""How many weights and biases an ONNX file holds, those of inner graphs too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgepipe_stages._graph import onnx_file

_WEIGHTS: dict[str, tuple[int, ...]] = {
    "ConvInteger": (1,),
    "DequantizeLinear": (0,),
    "DynamicQuantizeLSTM": (1, 2, 3, 7),
    "DynamicQuantizeMatMul": (1, 4),
    "GRU": (1, 2, 3),
    "LSTM": (1, 2, 3, 7),
    "MatMulInteger": (1,),
    "MatMulIntegerToFloat": (1, 6),
    "MatMulNBits": (5,),
    "QAttention": (1, 2),
    "QGemm": (3, 6),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3,),
    "QuantizeLinear": (0,),
    "RNN": (1, 2, 3),
    "Resize": (0,),
    "Upsample": (0,),
}
"""Where weights and biases stand among the inputs of operators that also take scales, sizes or
the state to start from; of other operators every constant of real numbers is one."""

_STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,), "DynamicQuantizeLSTM": (5, 6)}
"""Where a state to start from stands: a learned one is a weight, exporters' zeros are none."""


def parameters(model: onnx.ModelProto) -> int:
    """Numbers in constants that are weights: not shapes, scales, zero points or single numbers.

    Args:
        model: without functions of its own, as `onnx_file.load` gives it.
    """
    return _in_graph(model.graph, {})[0]


def _in_graph(graph: onnx.GraphProto, outer: Mapping[str, NDArray[Any]]) -> tuple[int, set[str]]:
    """Weights stored in a graph and those inside it, and which of the outer ones it uses."""
    own = onnx_file.Constants(graph).values
    # An inner name hides an outer one of the same spelling.
    known = {**outer, **own}
    used: set[str] = set()
    total = 0
    for node in graph.node:
        used |= _weights(node, known)
        total += _packed(node, known)
        for inner in onnx_file.inner_graphs(node):
            found, of_this = _in_graph(inner, known)
            total += found
            used |= of_this
    used -= _zero_states(graph, known)
    stored = {tensor.name for tensor in graph.initializer}
    stored |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    sizes = [own[name].size for name in stored & used & own.keys()]
    return total + sum(size for size in sizes if size > 1), used - own.keys()


def _weights(node: onnx.NodeProto, known: Mapping[str, NDArray[Any]]) -> set[str]:
    """Which constants a node takes as weights."""
    if not onnx_file.is_known(node, _WEIGHTS):
        given = [name for name in node.input if name in known]
        return {name for name in given if np.issubdtype(known[name].dtype, np.floating)}

    places = _WEIGHTS[node.op_type] + _STATES.get(node.op_type, ())
    names = [node.input[place] for place in places if place < len(node.input)]
    return {name for name in names if name in known}


def _zero_states(graph: onnx.GraphProto, known: Mapping[str, NDArray[Any]]) -> set[str]:
    """Constants of zeros that states are made of, often a slice for each layer."""
    makers = {name: node for node in graph.node for name in node.output}
    found = set()
    for node in (n for n in graph.node if onnx_file.is_known(n, _STATES)):
        for name in (node.input[i] for i in _STATES[node.op_type] if i < len(node.input)):
            while name in makers and makers[name].input:
                name = makers[name].input[0]
            if name in known and not known[name].any():
                found.add(name)
    return found


def _packed(node: onnx.NodeProto, known: Mapping[str, NDArray[Any]]) -> int:
    """Weights of several to a byte, whose tensor does not say how many."""
    if not onnx_file.is_known(node, ("MatMulNBits",)) or node.input[1] not in known:
        return 0
    given = onnx_file.attributes(node)
    return int(given["K"] * given["N"])
