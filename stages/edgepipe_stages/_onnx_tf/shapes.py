"""Operators that move, join and cut axes. A transpose becomes a note of the new order."""

from __future__ import annotations

from math import prod

import numpy as np
import tensorflow as tf

from edgepipe_stages._onnx_tf.elementwise import detached
from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator, UnsupportedError
from edgepipe_stages._onnx_tf.tensors import (
    Order,
    flat_order,
    onnx_order,
    reshaped,
)


def _transpose(operator: Operator) -> None:
    value = operator.tensors.value(operator.inputs[0])
    permutation = operator.integers("perm", range(len(value.order))[::-1])
    operator.put(value.stored, tuple(permutation.index(axis) for axis in value.order))


def _reshape(operator: Operator) -> None:
    old = operator.tensors.shape(operator.inputs[0])
    shape = [int(n) for n in operator.constant(1, "a shape")]
    if not operator.attributes.get("allowzero", 0):
        shape = [old[i] if n == 0 else n for i, n in enumerate(shape)]
    if -1 in shape:
        shape[shape.index(-1)] = prod(old) // -prod(shape)
    _put_reshaped(operator, shape)


def _flatten(operator: Operator) -> None:
    shape = operator.tensors.shape(operator.inputs[0])
    axis = int(operator.attributes.get("axis", 1))
    axis += len(shape) if axis < 0 else 0
    _put_reshaped(operator, [prod(shape[:axis]), prod(shape[axis:])])


def _squeeze(operator: Operator) -> None:
    shape = operator.tensors.shape(operator.inputs[0])
    ones = [axis for axis, n in enumerate(shape) if n == 1]
    axes = {axis % len(shape) for axis in operator.integers("axes", ones)}
    _put_reshaped(operator, [n for axis, n in enumerate(shape) if axis not in axes])


def _unsqueeze(operator: Operator) -> None:
    shape = list(operator.tensors.shape(operator.inputs[0]))
    axes = operator.integers("axes", [])
    rank = len(shape) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        shape.insert(axis, 1)
    _put_reshaped(operator, shape)


def _put_reshaped(operator: Operator, shape: list[int]) -> None:
    tensors = operator.tensors
    value = tensors.value(operator.inputs[0])
    if shape == [1, prod(value.shape)] and _only_read_by_products(operator):
        # The weights of the product are put in the tensor's order instead of the tensor in theirs.
        tensors.shuffled[operator.outputs[0]] = flat_order(value)
        operator.put(tf.reshape(value.stored, shape))
        return
    result = reshaped(value, shape)
    operator.put(result.stored, result.order)


def _only_read_by_products(operator: Operator) -> bool:
    name, graph = operator.outputs[0], operator.graph
    readers = graph.consumers(name)
    return (
        bool(readers)
        and name not in graph.outputs
        and all(
            reader.op_type in ("Gemm", "MatMul")
            and reader.input[0] == name
            and reader.input[1] in operator.tensors.constants
            and not any(a.name == "transA" and a.i for a in reader.attribute)
            for reader in readers
        )
    )


def _concat(operator: Operator) -> None:
    tensors, axis = operator.tensors, operator.axis(0)
    orders = [tensors.order(name) for name in operator.inputs]
    plain = onnx_order(len(orders[0]))
    order = next((order for order in orders if order != plain), plain)
    parts = [
        detached(tensors.arranged(name, order))
        if _shares_range(operator, name)
        else tensors.arranged(name, order)
        for name in operator.inputs
    ]
    operator.put(tf.concat(parts, order.index(axis)), order)


def _shares_range(operator: Operator, name: str) -> bool:
    """Whether an int8 model would force the concatenation's range on more than this tensor."""
    graph = operator.graph
    maker = graph.producer(name)
    return (
        maker is not None
        and maker.op_type in ("ReduceMax", "ReduceMin", "MaxPool", "GlobalMaxPool")
        and graph.is_shared(maker.input[0])
        and maker.input[0] not in operator.tensors.nonnegative
    )


def _split(operator: Operator) -> None:
    tensors, name, axis = operator.tensors, operator.inputs[0], operator.axis(0)
    length, parts = tensors.shape(name)[axis], len(operator.outputs)
    size = -(-length // parts)
    sizes = [min(size, length - i * size) for i in range(parts)]
    sizes = operator.integers("split", sizes)
    order = tensors.order(name)
    pieces = tf.split(tensors.arranged(name, order), sizes, order.index(axis))
    for i, piece in enumerate(pieces):
        if operator.outputs[i]:
            operator.put(piece, order, i)


def _slice(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    shape, order = tensors.shape(name), tensors.order(name)
    if operator.graph.opset < 10:
        starts, ends = operator.integers("starts", []), operator.integers("ends", [])
        axes, steps = operator.integers("axes", range(len(starts))), [1] * len(starts)
    else:
        starts, ends = (operator.constant(i, "bounds").tolist() for i in (1, 2))
        every = list(range(len(starts)))
        axes = operator.constant(3, "axes").tolist() if operator.has(3) else every
        steps = operator.constant(4, "steps").tolist() if operator.has(4) else [1] * len(starts)
    cuts = [slice(None)] * len(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Numbers beyond the ends, as ONNX allows and TensorFlow's converter does not.
        first, last, stride = slice(start, end, step).indices(shape[axis])
        cuts[order.index(axis % len(shape))] = slice(first, last if last >= 0 else None, stride)
    operator.put(tensors.arranged(name, order)[tuple(cuts)], order)


def _gather(operator: Operator) -> None:
    tensors, name, axis = operator.tensors, operator.inputs[0], operator.axis(0)
    if name in tensors.constants:
        raise UnsupportedError("that looks up a table by a computed index")
    indices = operator.constant(1, "indices") % tensors.shape(name)[axis]
    if indices.ndim == 1:
        order = tensors.order(name)
        picked = tf.gather(tensors.arranged(name, order), indices, axis=order.index(axis))
        operator.put(picked, order)
    else:
        operator.put(tf.gather(tensors[name], indices, axis=axis))


def _pad(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    order = tensors.order(name)
    rank = len(order)
    value = 0.0
    if operator.graph.opset < 11:
        pads, value = operator.integers("pads", []), operator.number("value", 0)
    else:
        pads = operator.constant(1, "pads").tolist()
        if operator.has(2):
            value = float(operator.constant(2, "a value"))
        if operator.has(3):
            axes = [int(axis) % rank for axis in operator.constant(3, "axes")]
            pads = _spread(pads, axes, rank)
    pairs = [(pads[axis], pads[axis + rank]) for axis in order]
    x = tensors.arranged(name, order)
    cropped = tuple(
        slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, x.shape, strict=True)
    )
    if any(number < 0 for pair in pairs for number in pair):
        x = x[cropped]
    pairs = [(max(a, 0), max(b, 0)) for a, b in pairs]
    mode = operator.text("mode", "constant")
    if mode == "constant":
        x = tf.pad(x, pairs, constant_values=value)
    elif mode == "reflect":
        x = tf.pad(x, pairs, "REFLECT")
    elif mode == "edge":
        x = edge_padded(x, pairs)
    else:
        raise UnsupportedError(f"in the mode {mode}")
    operator.put(x, order)


def edge_padded(x: tf.Tensor, pairs: list[tuple[int, int]]) -> tf.Tensor:
    """Repeat the outermost elements: mirroring one element at a time does, and TFLite has it."""
    for step in range(max(number for pair in pairs for number in pair)):
        x = tf.pad(x, [(int(a > step), int(b > step)) for a, b in pairs], "SYMMETRIC")
    return x


def _spread(pads: list[int], axes: list[int], rank: int) -> list[int]:
    spread = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        spread[axis], spread[axis + rank] = pads[i], pads[i + len(axes)]
    return spread


def _expand(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    target = [int(n) for n in operator.constant(1, "a shape")]
    shape = list(np.broadcast_shapes(tensors.shape(name), target))
    x = tensors[name]
    x = tf.reshape(x, [1] * (len(shape) - x.shape.rank) + x.shape.as_list())
    operator.put(tf.broadcast_to(x, shape))


def _tile(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    order: Order = tensors.order(name)
    repeats = operator.constant(1, "repeats")
    tiled = tf.tile(tensors.arranged(name, order), [int(repeats[axis]) for axis in order])
    operator.put(tiled, order)


HANDLERS: dict[str, Handler] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
}
