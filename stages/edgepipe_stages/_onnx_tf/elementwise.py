"""Operators that work on each element: in whatever order the input is stored.

Some are written in the form that TensorFlow Lite's converter fuses into one operator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import numpy as np
import tensorflow as tf

from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator
from edgepipe_stages._onnx_tf.tensors import Order, onnx_order


def _common_order(operator: Operator) -> Order:
    """The order of the first input that is not stored in ONNX's, of the widest rank."""
    tensors = operator.tensors
    names = [name for name in operator.inputs if name]
    rank = max(tensors.rank(name) for name in names)
    orders = [tensors.order(name) for name in names if tensors.rank(name) == rank]
    return next((order for order in orders if order != onnx_order(rank)), onnx_order(rank))


def by_onnx_tf(operator: Operator) -> None:
    """onnx-tf's handler, given the inputs in their stored order."""
    order = _common_order(operator)
    tensors = {n: operator.tensors.broadcast(n, order) for n in operator.inputs if n}
    result = operator.by_onnx_tf(tensors)[0]
    operator.put(result, order)


def _unary(function: Callable[..., Any], operator: Operator, nonnegative: bool = False) -> None:
    order = operator.tensors.order(operator.inputs[0])
    operator.put(function(operator.tensors.arranged(operator.inputs[0], order)), order)
    if nonnegative:
        operator.tensors.nonnegative.add(operator.outputs[0])


def _identity(operator: Operator) -> None:
    tensors, name = operator.tensors, operator.inputs[0]
    _unary(tf.identity, operator, name in tensors.nonnegative)


def _extremum(sign: float, operator: Operator) -> None:
    """The largest (sign 1) or smallest (-1) of several tensors.

    Not by MAXIMUM and MINIMUM: quantization makes these share the range of their result with
    their inputs, and so cuts off what else reads those.
    """
    order = _common_order(operator)
    parts = [operator.tensors.broadcast(name, order) for name in operator.inputs]
    if not parts[0].dtype.is_floating:
        return by_onnx_tf(operator)
    result = parts[0]
    for part in parts[1:]:
        result = result + sign * tf.nn.relu(part - result if sign > 0 else result - part)
    operator.put(result, order)
    return None


def _where(operator: Operator) -> None:
    order = _common_order(operator)
    condition, *choices = (operator.tensors.broadcast(n, order) for n in operator.inputs)
    if choices[0].dtype.is_floating:
        choices = [detached(choice) for choice in choices]
    operator.put(tf.where(condition, *choices), order)


def detached(x: tf.Tensor) -> tf.Tensor:
    """The same tensor, with a range of its own in an int8 model.

    SELECT, CONCATENATION and REDUCE_MAX are quantized with one scale for inputs and output; what
    else reads an input would get the range of the output. A product with 1 would be removed.
    """
    return x * np.nextafter(np.float32(1), np.float32(2))


def _clip(operator: Operator) -> None:
    low, high = (
        float(operator.constant(i, "a bound")) if operator.has(i) else operator.number(name, bound)
        for i, name, bound in ((1, "min", -inf), (2, "max", inf))
    )

    def clip(x: tf.Tensor) -> tf.Tensor:
        if (low, high) == (0, 6):
            return tf.nn.relu6(x)
        if low == 0:
            x = tf.nn.relu(x)
        elif low > -inf:
            x = tf.nn.relu(x - low) + low if shared else tf.maximum(x, low)
        if high == inf:
            return x
        return high - tf.nn.relu(high - x) if shared and low != 0 else tf.minimum(x, high)

    shared = operator.graph.is_shared(operator.inputs[0])
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
    below = alpha * tf.exp(tf.nn.relu(x * -1.0) * -steepness) - alpha
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
        by_onnx_tf(operator)


def _div(operator: Operator) -> None:
    """A division by a constant as a product: DIV has no int8 kernel."""
    tensors, (name, divisor) = operator.tensors, operator.inputs
    constant = tensors.constants.get(divisor)
    if constant is None or constant.dtype.kind != "f" or not np.all(constant):
        return by_onnx_tf(operator)
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
            "Mean",
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
        ),
        by_onnx_tf,
    ),
    "Relu": partial(_unary, tf.nn.relu, nonnegative=True),
    "Sigmoid": partial(_unary, tf.nn.sigmoid, nonnegative=True),
    "Softplus": partial(_unary, _softplus, nonnegative=True),
    "Max": partial(_extremum, 1.0),
    "Min": partial(_extremum, -1.0),
    "Where": _where,
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
}
