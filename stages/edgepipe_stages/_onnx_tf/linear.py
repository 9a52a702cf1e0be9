"""Matrix products: a transposed operand is a flag, and never moved."""

from __future__ import annotations

from math import prod

import tensorflow as tf

from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator
from edgepipe_stages._onnx_tf.tensors import Array, onnx_order


def _gemm(operator: Operator) -> None:
    tensors, (name, weight) = operator.tensors, operator.inputs[:2]
    transposed = bool(operator.attributes.get("transB", 0))
    x, x_swapped = _matrix(operator, name)
    x_swapped ^= bool(operator.attributes.get("transA", 0))
    if weight in tensors.constants:
        matrix = tensors.constants[weight]
        w = _ordered(operator, matrix.T if transposed else matrix)
        transposed = False
    else:
        w, swapped = _matrix(operator, weight)
        transposed ^= swapped
    y = tf.matmul(x, w, transpose_a=x_swapped, transpose_b=transposed)
    if (alpha := operator.number("alpha", 1)) != 1:
        y = y * alpha
    if operator.has(2):
        beta = operator.number("beta", 1)
        bias = tensors[operator.inputs[2]]
        y = y + (bias if beta == 1 else beta * bias)
    operator.put(y)


def _matmul(operator: Operator) -> None:
    tensors, (left, right) = operator.tensors, operator.inputs
    rank = tensors.rank(left)
    constant = tensors.constants.get(right)
    if constant is not None and constant.ndim == 2 and rank > 1:
        # One product over all rows, as a dense layer of Keras does: TensorFlow Lite then uses
        # FULLY_CONNECTED, which has int8 kernels everywhere.
        x, shape = tensors[left], tensors.shape(left)
        flat = tf.reshape(x, [prod(shape[:-1]), shape[-1]]) if rank > 2 else x
        y = tf.matmul(flat, _ordered(operator, constant))
        operator.put(tf.reshape(y, [*shape[:-1], constant.shape[1]]) if rank > 2 else y)
    elif min(rank, tensors.rank(right)) < 2:
        operator.put(
            tf.linalg.matvec(tensors[left], tensors[right])
            if rank > 1
            else tf.squeeze(tf.expand_dims(tensors[left], 0) @ tensors[right], -2)
        )
    else:
        x, x_swapped = _matrix(operator, left)
        w, w_swapped = _matrix(operator, right)
        operator.put(tf.matmul(x, w, transpose_a=x_swapped, transpose_b=w_swapped))


def _ordered(operator: Operator, matrix: Array) -> Array:
    """A constant right operand, its rows in the order of a left one that was flattened."""
    shuffle = operator.tensors.shuffled.get(operator.inputs[0])
    return matrix if shuffle is None else matrix[shuffle]


def _matrix(operator: Operator, name: str) -> tuple[tf.Tensor, bool]:
    """A tensor whose last two axes may be stored swapped, and whether they are."""
    tensors = operator.tensors
    order = tensors.order(name)
    plain = onnx_order(len(order))
    swapped = (*plain[:-2], plain[-1], plain[-2])
    if order == swapped:
        return tensors.arranged(name, order), True
    return tensors[name], False


HANDLERS: dict[str, Handler] = {"Gemm": _gemm, "MatMul": _matmul}
