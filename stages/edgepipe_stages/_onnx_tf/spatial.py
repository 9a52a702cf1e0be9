"""Convolution, pooling and resizing: on tensors with their channels last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import floor
from typing import Any

import numpy as np
import tensorflow as tf

from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator, UnsupportedError
from edgepipe_stages._onnx_tf.shapes import edge_padded
from edgepipe_stages._onnx_tf.tensors import Array, channels_last
from edgepipe_stages._onnx_tf.windows import windows


def _input(operator: Operator) -> tf.Tensor:
    """The first input, channels last; with one spatial axis, that of an image of height 1."""
    name = operator.inputs[0]
    rank = operator.tensors.rank(name)
    if rank not in (3, 4):
        raise UnsupportedError(f"on {rank - 2} spatial axes")
    x = operator.tensors.arranged(name, channels_last(rank))
    return tf.expand_dims(x, 1) if rank == 3 else x


def _put(operator: Operator, result: tf.Tensor) -> None:
    rank = operator.tensors.rank(operator.inputs[0])
    operator.put(tf.squeeze(result, [1]) if rank == 3 else result, channels_last(rank))


def _biased(operator: Operator, x: tf.Tensor) -> tf.Tensor:
    if not operator.has(2):
        return x
    return tf.nn.bias_add(x, operator.tensors[operator.inputs[2]])


def _weights(operator: Operator) -> Array:
    weights = operator.constant(1, "weights")
    return weights[:, :, None] if weights.ndim == 3 else weights


def _conv(operator: Operator) -> None:
    x = _input(operator)
    weights = _weights(operator)
    groups = int(operator.attributes.get("group", 1))
    window = windows(operator, x.shape[1:3], weights.shape[2:])
    x, padding = window.padded(x)
    channels = x.shape[3]
    # TensorFlow's depthwise convolution has one stride for both axes, and none if dilated.
    square = len(set(window.strides)) == 1 and 1 in (window.strides[0], max(window.dilations))
    if groups == channels > 1 and square:
        kernel = weights.transpose(2, 3, 1, 0).reshape(*weights.shape[2:], channels, -1)
        strides = [1, *window.strides, 1]
        y = tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=window.dilations)
    else:
        # A kernel with fewer input channels than the image makes it a grouped convolution.
        kernel = weights.transpose(2, 3, 1, 0)
        y = tf.nn.conv2d(x, kernel, window.strides, padding, dilations=window.dilations)
    _put(operator, _biased(operator, y))


def _conv_transpose(operator: Operator) -> None:
    x = _input(operator)
    weights = _weights(operator)
    if operator.text("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in operator.attributes:
        raise UnsupportedError("with auto_pad or output_shape")
    spatial = operator.tensors.rank(operator.inputs[0]) - 2
    strides, dilations, extra = (
        ([] if spatial == 2 else [neutral]) + operator.integers(name, [neutral] * spatial)
        for name, neutral in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    pads = operator.integers("pads", [0] * 2 * spatial)
    if spatial == 1:
        pads = [0, pads[0], 0, pads[1]]
    weights = _dilated(weights, dilations)
    size = [int(n) for n in x.shape[1:3]]
    kernel = weights.shape[2:]
    full = [max((n - 1) * s + k, n * s) for n, s, k in zip(size, strides, kernel, strict=True)]
    out = [
        (n - 1) * s + k - pads[i] - pads[i + 2] + extra[i]
        for i, (n, s, k) in enumerate(zip(size, strides, kernel, strict=True))
    ]
    same = all(
        out[i] == size[i] * strides[i] and pads[i] == max(kernel[i] - strides[i], 0) // 2
        for i in range(2)
    )
    groups = int(operator.attributes.get("group", 1))
    parts = tf.split(x, groups, 3) if groups > 1 else [x]
    results = []
    for part, piece in zip(parts, np.split(weights, groups, 0), strict=True):
        shape = [1, *(out if same else full), piece.shape[1]]
        padding = "SAME" if same else "VALID"
        filters = piece.transpose(2, 3, 1, 0)
        results.append(tf.nn.conv2d_transpose(part, filters, shape, strides, padding))
    y = tf.concat(results, 3) if groups > 1 else results[0]
    ends = [pads[i] + out[i] for i in range(2)]
    missing = [0 if same else max(ends[i] - full[i], 0) for i in range(2)]
    if any(missing):
        y = tf.pad(y, [(0, 0), (0, missing[0]), (0, missing[1]), (0, 0)])
    y = _biased(operator, y)
    if not same and out != full:
        y = y[:, pads[0] : ends[0], pads[1] : ends[1], :]
    _put(operator, y)


def _dilated(weights: Array, dilations: Sequence[int]) -> Array:
    """The kernel with zeros between its elements: TensorFlow's operator knows no dilation."""
    if max(dilations) == 1:
        return weights
    size = [(k - 1) * d + 1 for k, d in zip(weights.shape[2:], dilations, strict=True)]
    wide = np.zeros((*weights.shape[:2], *size), weights.dtype)
    wide[:, :, :: dilations[0], :: dilations[1]] = weights
    return wide


def _max_pool(operator: Operator) -> None:
    if len([name for name in operator.outputs if name]) > 1:
        raise UnsupportedError("with the indices of the maxima as a second output")
    x = _input(operator)
    window = windows(operator, x.shape[1:3])
    nonnegative = operator.inputs[0] in operator.tensors.nonnegative
    padding = "SAME" if window.same else "VALID"
    if not window.same and any(max(pair) for pair in window.pads):
        pairs = [(0, 0), *window.pads, (0, 0)]
        if nonnegative:
            x = tf.pad(x, pairs)
        elif max(window.dilations) > 1:
            raise UnsupportedError("with dilations and pads, on numbers that may be negative")
        else:
            # The lowest float, as the definition has it, would ruin the ranges of an int8 model;
            # an element that the window covers anyway changes no maximum.
            x = edge_padded(x, pairs)
    if max(window.dilations) > 1:
        y = tf.nn.pool(x, window.kernel, "MAX", window.strides, padding, None, window.dilations)
    else:
        y = tf.nn.max_pool2d(x, window.kernel, window.strides, padding)
    if nonnegative:
        operator.tensors.nonnegative.add(operator.outputs[0])
    _put(operator, y)


def _average_pool(operator: Operator) -> None:
    x = _input(operator)
    window = windows(operator, x.shape[1:3])
    if max(window.dilations) > 1:
        raise UnsupportedError("with dilations")
    counted = bool(operator.attributes.get("count_include_pad", 0))
    counts = [window.counts(axis, counted) for axis in range(2)]
    inside = [window.counts(axis, False) for axis in range(2)]
    if window.same and all(map(np.array_equal, counts, inside)):
        y = tf.nn.avg_pool2d(x, window.kernel, window.strides, "SAME")
    else:
        x, _ = window.padded(x, explicit=True)
        y = tf.nn.avg_pool2d(x, window.kernel, window.strides, "VALID")
        divisor = counts[0][:, None] * counts[1][None, :] / np.prod(window.kernel)
        if not np.all(divisor == 1):
            y = y * (1 / divisor)[None, :, :, None].astype(np.float32)
    _put(operator, y)


def _global_pool(function: Callable[..., Any], operator: Operator) -> None:
    name = operator.inputs[0]
    order = channels_last(operator.tensors.rank(name))
    axes = list(range(1, len(order) - 1))
    operator.put(function(operator.tensors.arranged(name, order), axes, keepdims=True), order)


def _resize(operator: Operator) -> None:
    x = _input(operator)
    rank = operator.tensors.rank(operator.inputs[0])
    old = operator.tensors.shape(operator.inputs[0])
    sizes = 3 if operator.type == "Resize" and operator.graph.opset > 10 else None
    if sizes and operator.has(sizes):
        new = [int(n) for n in operator.constant(sizes, "sizes")]
    else:
        scales = operator.constant(2 if sizes else 1, "scales")
        new = [floor(n * s + 1e-6) for n, s in zip(old, scales, strict=True)]
        if any(abs(n * s - m) > 1e-4 for n, s, m in zip(old, scales, new, strict=True)):
            raise UnsupportedError(f"from {old[2:]} by {scales[2:].tolist()}: not a whole size")
    if new[:2] != list(old[:2]):
        raise UnsupportedError("of the channels")
    size = new[2:] if rank == 4 else [1, *new[2:]]
    mode = operator.text("mode", "nearest")
    default = "half_pixel" if sizes else "asymmetric"
    where = operator.text("coordinate_transformation_mode", default)
    rounding = operator.text("nearest_mode", "round_prefer_floor" if sizes else "floor")
    if where == "pytorch_half_pixel" and min(size) > 1:
        where = "half_pixel"
    v1 = tf.compat.v1.image
    known = {
        ("linear", "align_corners"): partial(v1.resize_bilinear, align_corners=True),
        ("linear", "half_pixel"): partial(v1.resize_bilinear, half_pixel_centers=True),
        ("linear", "asymmetric"): v1.resize_bilinear,
        ("nearest", "asymmetric", "floor"): v1.resize_nearest_neighbor,
        ("nearest", "half_pixel", "round_prefer_ceil"): partial(
            v1.resize_nearest_neighbor, half_pixel_centers=True
        ),
    }
    key = (mode, where) if mode != "nearest" else (mode, where, rounding)
    if key == ("nearest", "half_pixel", "round_prefer_floor"):
        # Where enlarging by a whole number no pixel lies in the middle of two.
        if any(n % m for n, m in zip(size, x.shape[1:3], strict=True)):
            raise UnsupportedError("to the nearest pixel by a fraction")
        key = ("nearest", "asymmetric", "floor")
    if key not in known:
        raise UnsupportedError(f"in the mode {' '.join(key)}")
    _put(operator, known[key](x, size))


def _depth_to_space(operator: Operator) -> None:
    x = _input(operator)
    block = int(operator.attributes["blocksize"])
    if operator.text("mode", "DCR") == "CRD":
        channels = np.arange(x.shape[3]).reshape(-1, block, block).transpose(1, 2, 0)
        x = tf.gather(x, channels.reshape(-1), axis=3)
    _put(operator, tf.nn.depth_to_space(x, block))


def _space_to_depth(operator: Operator) -> None:
    _put(operator, tf.nn.space_to_depth(_input(operator), int(operator.attributes["blocksize"])))


HANDLERS: dict[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": partial(_global_pool, tf.reduce_mean),
    "GlobalMaxPool": partial(_global_pool, tf.reduce_max),
    "Resize": _resize,
    "Upsample": _resize,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
