"""An ONNX graph as the converter walks through it: one image, operators checked beforehand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.inliner import inline_local_functions
from onnx.reference import ReferenceEvaluator

from edgepipe.stage import StageError

Array = NDArray[Any]

# Since opset 13 or 18 these take as an input what onnx-tf reads as an attribute.
_INPUT_TO_ATTRIBUTE = {
    "Squeeze": "axes",
    "Unsqueeze": "axes",
    "Split": "split",
    **{
        f"Reduce{name}": "axes"
        for name in ["Mean", "Max", "Min", "Sum", "Prod", "L1", "L2", "SumSquare"]
    },
}
_QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"),
        *("DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"),
    }
)


@dataclass(frozen=True)
class Graph:
    """A model with one input of a known shape, for one image."""

    nodes: list[NodeProto]
    constants: dict[str, Array]
    opset: int
    input_name: str
    input_shape: tuple[int, ...]
    outputs: list[str]

    def consumers(self, name: str) -> list[NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in node.input]

    def producer(self, name: str) -> NodeProto | None:
        """The node that writes a tensor; None for the image and for constants."""
        return next((node for node in self.nodes if name in node.output), None)

    def is_shared(self, name: str) -> bool:
        """Whether more than one node reads a tensor, or it is an output too."""
        return len(self.consumers(name)) + (name in self.outputs) > 1


def read_graph(model: ModelProto) -> Graph:
    """The graph of a model, its batch fixed at one image.

    Raises:
        StageError: the model is quantized, or has other inputs than one image of a known size.
    """
    if model.functions:
        model = inline_local_functions(model)
    graph = model.graph
    found = Counter(node.op_type for node in graph.node if node.op_type in _QUANTIZED)
    if found:
        raise StageError(
            f"the ONNX model is quantized already ({', '.join(sorted(found))})",
            "connect the float model that convert.onnx wrote: convert.tflite quantizes it itself",
        )
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise StageError(
            f"the ONNX model has {len(inputs)} inputs ({', '.join(i.name for i in inputs)})",
            "a pipeline's models take one image: make the other inputs parts of the model",
        )
    dims = inputs[0].type.tensor_type.shape.dim
    shape = (1, *(dim.dim_value for dim in dims[1:]))
    if 0 in shape:
        raise StageError(
            "the ONNX model leaves the size of its images open", "export it for one image size"
        )
    opsets = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return Graph(
        nodes=[
            node
            for node in graph.node
            if node.op_type != "Constant" or node.output[0] not in constants
        ],
        constants=constants,
        opset=opsets[0] if opsets else 1,
        input_name=inputs[0].name,
        input_shape=shape,
        outputs=[value.name for value in graph.output],
    )


def layer(node: NodeProto) -> str:
    """The module that a node comes from, ``features.0.conv``, or the node's own name.

    torch names a node by its scopes, ``/features/features.0/conv/Conv``: a scope inside a
    numbered container repeats the container's name.
    """
    if not node.name.startswith("/"):
        return node.name or (node.output[0] if node.output else node.op_type)
    path: list[str] = []
    for scope in node.name.strip("/").split("/")[:-1]:
        if path and scope.startswith(path[-1] + "."):
            path[-1] = scope
        else:
            path.append(scope)
    return ".".join(path) or node.name.strip("/")


def computed(graph: Graph) -> list[NodeProto]:
    """The nodes that depend on the image's pixels, not on its size alone."""
    known = set(graph.constants)
    nodes = []
    for node in graph.nodes:
        if node.op_type == "Shape" or all(name in known for name in node.input if name):
            known.update(node.output)
        else:
            nodes.append(node)
    return nodes


def evaluate(node: NodeProto, constants: dict[str, Array], opset: int) -> list[Array] | None:
    """The outputs of a node whose inputs are constants; None where onnx's reference cannot."""
    inputs = {name: constants[name] for name in node.input if name}
    declared = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in inputs.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    alone = helper.make_model(
        helper.make_graph([node], "node", declared, outputs),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    try:
        return [np.asarray(value) for value in ReferenceEvaluator(alone).run(None, inputs)]
    except (NotImplementedError, RuntimeError, TypeError):
        return None


def inputs_to_attributes(node: NodeProto, constants: dict[str, Array]) -> NodeProto:
    """The node with constant axes or sizes as an attribute, as before opset 13 and 18."""
    attribute = _INPUT_TO_ATTRIBUTE.get(node.op_type)
    if attribute is None or len(node.input) < 2 or node.input[1] not in constants:
        return node
    changed = NodeProto()
    changed.CopyFrom(node)
    values = constants[node.input[1]].reshape(-1).tolist()
    changed.attribute.append(helper.make_attribute(attribute, values))
    del changed.input[1:]
    return changed


def unsupported(problems: Sequence[tuple[NodeProto, str]]) -> StageError:
    """One error for all nodes that cannot be converted, each with what is wrong about it."""
    operators = sorted({node.op_type for node, _ in problems})
    lines = [f"{layer(node)}: {node.op_type}{reason and ' ' + reason}" for node, reason in problems]
    if len(lines) > 8:
        lines[8:] = [f"and {len(lines) - 8} more"]
    plural = "s" if len(operators) > 1 else ""
    return StageError(
        f"onnx-tf cannot convert the operator{plural} {', '.join(operators)}",
        "\n".join(
            [
                *lines,
                "write the layer with convolutions, pooling, arithmetic or matrix products, or"
                " deploy the ONNX model: leave out convert.savedmodel and what follows it",
            ]
        ),
    )
