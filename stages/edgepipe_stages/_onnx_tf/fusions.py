"""Finds what an exporter wrote in several operators, where TensorFlow Lite has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from onnx import NodeProto, helper

from edgepipe_stages._onnx_tf.graph import Array, Graph


def fuse(graph: Graph) -> Graph:
    """The graph with one Gelu in the place of ``x / 2 * (1 + erf(x / sqrt(2)))``."""
    makers = {name: node for node in graph.nodes for name in node.output}
    fused: dict[str, NodeProto] = {}
    for node in graph.nodes:
        if node.op_type == "Erf" and (found := _gelu(node, graph, makers)):
            last, source = found
            name = node.name.removesuffix("Erf") + "Gelu"
            fused[last.output[0]] = helper.make_node("Gelu", [source], list(last.output), name)
    nodes = [fused.get(node.output[0], node) if node.output else node for node in graph.nodes]
    return replace(graph, nodes=_needed(nodes, set(graph.outputs)))


def _gelu(
    erf: NodeProto, graph: Graph, makers: Mapping[str, NodeProto]
) -> tuple[NodeProto, str] | None:
    """The last node of a GELU around an error function, and the tensor that it is applied to."""
    scaled = makers.get(erf.input[0])
    if scaled is None or scaled.op_type not in ("Div", "Mul"):
        return None
    source, factor = _constant_operand(scaled, graph.constants)
    if factor is None or abs(factor - (sqrt(2) if scaled.op_type == "Div" else sqrt(0.5))) > 1e-5:
        return None
    node = _only_reader(erf, graph)
    if node is None or node.op_type != "Add" or _constant_operand(node, graph.constants)[1] != 1:
        return None
    # Three factors are left, in some order: that sum, x, and a half.
    half = multiplied = False
    for _ in range(2):
        node = _only_reader(node, graph)
        if node is None or node.op_type != "Mul":
            return None
        if _constant_operand(node, graph.constants)[1] == 0.5 and not half:
            half = True
        elif source in node.input and not multiplied:
            multiplied = True
        elif not multiplied and not half and _is_half_of(source, node, graph, makers):
            return node, source
        else:
            return None
    return (node, source) if half and multiplied else None


def _is_half_of(
    source: str, product: NodeProto, graph: Graph, makers: Mapping[str, NodeProto]
) -> bool:
    factors = [makers[name] for name in product.input if name in makers]
    return any(
        factor.op_type == "Mul" and _constant_operand(factor, graph.constants) == (source, 0.5)
        for factor in factors
    )


def _only_reader(node: NodeProto, graph: Graph) -> NodeProto | None:
    readers = graph.consumers(node.output[0])
    return readers[0] if len(readers) == 1 and node.output[0] not in graph.outputs else None


def _constant_operand(node: NodeProto, constants: Mapping[str, Array]) -> tuple[str, float | None]:
    """The computed input of a node with two, and the constant one if it is a single number."""
    left, right = node.input
    if left in constants:
        left, right = right, left
    value = constants.get(right)
    return left, float(value.item()) if value is not None and value.size == 1 else None


def _needed(nodes: list[NodeProto], wanted: set[str]) -> list[NodeProto]:
    kept = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
