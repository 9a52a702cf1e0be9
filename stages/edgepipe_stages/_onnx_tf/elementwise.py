"""Operators that work on each element, and reductions: in whatever order the input is stored.

Some are written in the form that TensorFlow Lite's converter fuses into one operator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import numpy as np
import tensorflow as tf

from edgepipe_stages._onnx_tf import compat
from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator
from edgepipe_stages._onnx_tf.tensors import Order, onnx_order


def _common_order(operator: Operator) -> Order:
    """The order of the first input that is not stored in ONNX's, of the widest rank."""
    tensors = operator.tensors
    names = [name for name in operator.inputs if name]
    rank = max(tensors.rank(name) for name in names)
    orders = [tensors.order(name) for name in names if tensors.rank(name) == rank]
    return next((order for order in orders if order != onnx_order(rank)), onnx_order(rank))


def _by_onnx_tf(operator: Operator) -> None:
    """onnx-tf's handler, given the inputs in their stored order."""
    order = _common_order(operator)
    tensors = {n: operator.tensors.broadcast(n, order) for n in operator.inputs if n}
    handler = compat.select(operator.type, operator.graph.opset)
    result = handler.handle(operator.onnx_tf_node(), tensor_dict=tensors, strict=True)[0]
    operator.put(result, order)


def _unary(function: Callable[..., Any], operator: Operator, nonnegative: bool = False) -> None:
    order = operator.tensors.order(operator.inputs[0])
    operator.put(function(operator.tensors.arranged(operator.inputs[0], order)), order)
    if nonnegative:
        operator.tensors.nonnegative.add(operator.outputs[0])


def _identity(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    _unary(tf.identity, operator, name in tensors.nonnegative)


def _clip(operator: Operator) -> None:
    low, high = (
        float(operator.constant(i, "a bound")) if operator.has(i) else operator.number(name, bound)
        for i, name, bound in ((1, "min", -inf), (2, "max", inf))
    )

    def clip(x: tf.Tensor) -> tf.Tensor:
        if (low, high) == (0, 6):
            return tf.nn.relu6(x)
        x = tf.nn.relu(x) if low == 0 else x if low == -inf else tf.maximum(x, low)
        return x if high == inf else tf.minimum(x, high)

    _unary(clip, operator, low >= 0)


def _hard_sigmoid(operator: Operator) -> None:
    slope, offset = operator.number("alpha", 0.2), operator.number("beta", 0.5)

    def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
        if abs(slope - 1 / 6) < 1e-4 and offset == 0.5:
            return tf.nn.relu6(x + 3.0) * (1 / 6)
        return tf.clip_by_value(slope * x + offset, 0.0, 1.0)

    _unary(hard_sigmoid, operator, nonnegative=True)


def _hard_swish(x: tf.Tensor) -> tf.Tensor:
    return x * tf.nn.relu6(x + 3.0) * (1 / 6)


def _elu(x: tf.Tensor, alpha: float = 1.0, scale: float = 1.0, steepness: float = 1.0) -> tf.Tensor:
    """In operators with int8 kernels: TensorFlow Lite's ELU stays in float."""
    below = alpha * tf.exp(tf.minimum(x, 0.0) * steepness) - alpha
    y = tf.nn.relu(x) + below
    return y if scale == 1 else y * scale


def _elu_like(operator: Operator) -> None:
    alpha = operator.number("alpha", 1.6732632 if operator.type == "Selu" else 1.0)
    scale = operator.number("gamma", 1.0507010) if operator.type == "Selu" else 1.0
    steepness = 1 / alpha if operator.type == "Celu" else 1.0
    _unary(partial(_elu, alpha=alpha, scale=scale, steepness=steepness), operator)


def _softplus(x: tf.Tensor) -> tf.Tensor:
    """Without the exponential of a large number, which overflows, and fills an int8 range."""
    return tf.nn.relu(x) + tf.math.log(tf.exp(tf.abs(x) * -1.0) + 1.0)


def _leaky_relu(operator: Operator) -> None:
    _unary(partial(tf.nn.leaky_relu, alpha=operator.number("alpha", 0.01)), operator)


def _prelu(operator: Operator) -> None:
    tensors, (name, slope) = operator.tensors, operator.inputs
    order = tensors.order(name)
    x = tensors.arranged(name, order)
    slopes = tensors.broadcast(slope, order)
    if len(order) > 1 and slopes.shape.rank == len(order) and slopes.shape[0] == 1:
        # TensorFlow Lite's PRELU wants the slopes without the batch.
        slopes = tf.reshape(slopes, slopes.shape[1:])
    operator.put(tf.nn.relu(x) + -slopes * tf.nn.relu(-x), order)


def _erf(x: tf.Tensor) -> tf.Tensor:
    """Abramowitz and Stegun, 7.1.26: off by 1.5e-7 at most; TensorFlow Lite has no ERF."""
    magnitude = tf.abs(x)
    t = 1.0 / (1.0 + 0.3275911 * magnitude)
    polynomial = tf.zeros_like(t)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial = (polynomial + coefficient) * t
    return tf.sign(x) * (1.0 - polynomial * tf.exp(-magnitude * magnitude))


def _pow(operator: Operator) -> None:
    exponent = operator.tensors.constants.get(operator.inputs[1])
    if exponent is not None and exponent.size == 1 and float(exponent.item()) == 2:
        # POW has no int8 kernel.
        _unary(lambda x: x * x, operator)
    else:
        _by_onnx_tf(operator)


def _div(operator: Operator) -> None:
    """A division by a constant as a product: DIV has no int8 kernel."""
    tensors, (name, divisor) = operator.tensors, operator.inputs
    constant = tensors.constants.get(divisor)
    if constant is None or constant.dtype.kind != "f" or not np.all(constant):
        return _by_onnx_tf(operator)
    order = _common_order(operator)
    inverse = f"{operator.outputs[0]}/inverse"
    tensors.constants[inverse] = np.asarray(1 / constant, constant.dtype)
    operator.put(tensors.broadcast(name, order) * tensors.broadcast(inverse, order), order)
    return None


def _gelu(operator: Operator) -> None:
    approximate = operator.text("approximate", "none") == "tanh"
    _unary(partial(tf.nn.gelu, approximate=approximate), operator)


def _batch_normalization(operator: Operator) -> None:
    scale, shift, mean, variance = (operator.constant(i, "statistics") for i in range(1, 5))
    factor = scale / np.sqrt(variance + operator.number("epsilon", 1e-5))
    tensors, name = operator.tensors, operator.inputs[0]
    order = tensors.order(name)
    shape = [len(factor) if axis == 1 else 1 for axis in order]
    x = tensors.arranged(name, order) * factor.reshape(shape).astype(np.float32)
    operator.put(x + (shift - mean * factor).reshape(shape).astype(np.float32), order)


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
            return _by_onnx_tf(operator)
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
    **dict.fromkeys(
        (
            "Abs",
            "Add",
            "Ceil",
            "Cos",
            "Equal",
            "Exp",
            "Floor",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "Log",
            "Max",
            "Mean",
            "Min",
            "Mul",
            "Not",
            "Reciprocal",
            "Round",
            "Sign",
            "Sin",
            "Softsign",
            "Sqrt",
            "Sub",
            "Sum",
            "Tanh",
            "ThresholdedRelu",
            "Where",
        ),
        _by_onnx_tf,
    ),
    "Relu": partial(_unary, tf.nn.relu, nonnegative=True),
    "Sigmoid": partial(_unary, tf.nn.sigmoid, nonnegative=True),
    "Softplus": partial(_unary, _softplus, nonnegative=True),
    "Identity": _identity,
    "Dropout": _identity,
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": partial(_unary, _hard_swish),
    "LeakyRelu": _leaky_relu,
    **dict.fromkeys(("Elu", "Selu", "Celu"), _elu_like),
    # NEG has no int8 kernel.
    "Neg": partial(_unary, lambda x: x * -1.0),
    "PRelu": _prelu,
    "Erf": partial(_unary, _erf),
    "Gelu": _gelu,
    "Pow": _pow,
    "Div": _div,
    "BatchNormalization": _batch_normalization,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "ReduceMean": partial(_reduction, tf.reduce_mean),
    "ReduceSum": partial(_reduction, tf.reduce_sum),
    "ReduceMax": partial(_reduction, tf.reduce_max),
    "ReduceMin": partial(_reduction, tf.reduce_min),
    "Softmax": partial(_softmax, tf.nn.softmax),
    "LogSoftmax": partial(_softmax, tf.nn.log_softmax),
}
