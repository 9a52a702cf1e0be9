"""Sums, means and what is made of them, over axes wherever they are stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from edgepipe_stages._onnx_tf.elementwise import by_onnx_tf
from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator


def _reduction(function: Callable[..., Any], operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    order = tensors.order(name)
    if operator.has(1):
        axes = {int(a) % len(order) for a in operator.constant(1, "axes")}
    else:
        axes = {a % len(order) for a in operator.integers("axes", range(len(order)))}
    keep = bool(operator.attributes.get("keepdims", 1))
    stored = sorted(order.index(axis) for axis in axes)
    result = function(tensors.arranged(name, order), stored, keepdims=keep)
    if not keep:
        kept = [axis for axis in range(len(order)) if axis not in axes]
        order = tuple(kept.index(axis) for axis in order if axis in kept)
    operator.put(result, order)


def _softmax(function: Callable[..., Any], operator: Operator) -> None:
    """Over the last stored axis, the only one that TensorFlow Lite's SOFTMAX takes."""
    tensors, name = operator.tensors, operator.inputs[0]
    order = tensors.order(name)
    if operator.graph.opset < 13:
        axis = operator.axis(1)
        if axis != len(order) - 1:
            return by_onnx_tf(operator)
    else:
        axis = operator.axis(-1)
    order = (*(a for a in order if a != axis), axis)
    operator.put(function(tensors.arranged(name, order)), order)
    return None


def _instance_normalization(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    scale, shift = operator.constant(1, "a scale"), operator.constant(2, "a shift")
    order = tensors.order(name)
    shape = [len(scale) if axis == 1 else 1 for axis in order]
    axes = [i for i, axis in enumerate(order) if axis > 1]
    normal = _normalized(tensors.arranged(name, order), axes, operator.number("epsilon", 1e-5))
    operator.put(normal * scale.reshape(shape) + shift.reshape(shape), order)


def _layer_normalization(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    order = tensors.order(name)
    first = operator.axis(-1)
    axes = [i for i, axis in enumerate(order) if axis >= first]
    result = _normalized(tensors.arranged(name, order), axes, operator.number("epsilon", 1e-5))
    result = result * tensors.broadcast(operator.inputs[1], order)
    if operator.has(2):
        result = result + tensors.broadcast(operator.inputs[2], order)
    operator.put(result, order)


def _normalized(x: tf.Tensor, axes: list[int], epsilon: float) -> tf.Tensor:
    centered = x - tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(centered * centered, axes, keepdims=True)
    return centered * tf.math.rsqrt(variance + epsilon)


HANDLERS: dict[str, Handler] = {
    "ReduceMean": partial(_reduction, tf.reduce_mean),
    "ReduceSum": partial(_reduction, tf.reduce_sum),
    "ReduceMax": partial(_reduction, tf.reduce_max),
    "ReduceMin": partial(_reduction, tf.reduce_min),
    "Softmax": partial(_softmax, tf.nn.softmax),
    "LogSoftmax": partial(_softmax, tf.nn.log_softmax),
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
}
