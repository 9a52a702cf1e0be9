"""One ONNX node in the course of its conversion, as the handlers see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from onnx import NodeProto, helper

from edgepipe_stages._onnx_tf import compat
from edgepipe_stages._onnx_tf.graph import Graph
from edgepipe_stages._onnx_tf.tensors import Array, Order, Tensors


class UnsupportedError(Exception):
    """Why a node cannot be converted, as it goes on after the operator's name."""


class Operator:
    """A node: its inputs, attributes, and where its outputs go."""

    def __init__(self, node: NodeProto, graph: Graph, tensors: Tensors) -> None:
        self.node = node
        self.graph = graph
        self.tensors = tensors
        self.type = node.op_type
        self.inputs = list(node.input)
        self.outputs = list(node.output)
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def has(self, index: int) -> bool:
        """Whether the input is given: ONNX leaves optional ones out, or their names empty."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def constant(self, index: int, meaning: str) -> Array:
        """An input that has to be known. Raises UnsupportedError where it is computed."""
        name = self.inputs[index]
        if name not in self.tensors.constants:
            raise UnsupportedError(f"with {meaning} that the model computes")
        return self.tensors.constants[name]

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        return float(self.attributes.get(name, default))

    def integers(self, name: str, default: Sequence[int]) -> list[int]:
        """An attribute that is a list of whole numbers."""
        return [int(value) for value in self.attributes.get(name, default)]

    def text(self, name: str, default: str) -> str:
        """An attribute that is a word."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def axis(self, default: int) -> int:
        """The attribute ``axis``, counted from the front."""
        return int(self.attributes.get("axis", default)) % self.tensors.rank(self.inputs[0])

    def put(self, result: tf.Tensor, order: Order | None = None, output: int = 0) -> None:
        """Set an output; without an ``order`` its axes are in ONNX's."""
        self.tensors.put(self.outputs[output], result, order)

    def by_onnx_tf(self, tensors: Mapping[str, tf.Tensor]) -> list[Any]:
        """What onnx-tf's handler makes of the node. Raises UnsupportedError where it fails."""
        # Without a name, since the scope that it is in gives it one already.
        nameless = NodeProto()
        nameless.CopyFrom(self.node)
        nameless.name = ""
        handler = compat.select(self.type, self.graph.opset)
        try:
            node = compat.onnx_node(nameless)
            return list(handler.handle(node, tensor_dict=tensors, strict=True))
        except Exception as error:
            # Its handlers raise whatever they meet: a RuntimeError, an assertion, a KeyError.
            reason = (str(error).strip() or "no reason given").splitlines()[0]
            raise UnsupportedError(f"({type(error).__name__}: {reason})") from error


Handler = Callable[[Operator], None]
