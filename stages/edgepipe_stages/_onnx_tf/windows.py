"""The windows of a convolution or pooling: where ONNX puts them, and how TensorFlow says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgepipe_stages._onnx_tf.onnx_operator import Operator, UnsupportedError


@dataclass(frozen=True)
class Window:
    """Windows over two spatial axes.

    ``begin`` and ``end`` are ONNX's pads; ``output`` is how many windows fit.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def pads(self) -> list[tuple[int, int]]:
        """What the windows cover beyond the image on either side: never more than ONNX's pads,
        unless ceil_mode has added a window.
        """
        return [
            (self.begin[i], max(self._reach(i) - self.begin[i] - self.size[i], 0)) for i in (0, 1)
        ]

    @property
    def same(self) -> bool:
        """Whether these are the windows of TensorFlow's padding SAME."""
        return all(
            self.output[i] == -(-self.size[i] // self.strides[i])
            and self.begin[i] == max(self._reach(i) - self.size[i], 0) // 2
            for i in (0, 1)
        )

    def padded(self, x: tf.Tensor, explicit: bool = False) -> tuple[tf.Tensor, str]:
        """The image with the zeros that it needs, and TensorFlow's name of the padding."""
        if not any(max(pair) for pair in self.pads):
            return x, "VALID"
        if self.same and not explicit:
            return x, "SAME"
        return tf.pad(x, [(0, 0), *self.pads, (0, 0)]), "VALID"

    def counts(self, axis: int, include_pads: bool) -> NDArray[np.int64]:
        """How many elements each window covers along an axis; pads count if asked for."""
        first = np.arange(self.output[axis]) * self.strides[axis] - self.begin[axis]
        low = -self.begin[axis] if include_pads else 0
        high = self.size[axis] + (self.end[axis] if include_pads else 0)
        end = first + self.kernel[axis]
        counts: NDArray[np.int64] = np.minimum(end, high) - np.maximum(first, low)
        return counts

    def _reach(self, axis: int) -> int:
        """From the first element of the first window to the last of the last."""
        extent = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        return (self.output[axis] - 1) * self.strides[axis] + extent


def windows(operator: Operator, size: Any, kernel: Sequence[int] | None = None) -> Window:
    """The windows of a Conv, MaxPool or AveragePool over an image of ``size``.

    An operator with one spatial axis gets one in front of it, of length 1.
    """
    size = tuple(int(n) for n in size)
    rank = operator.tensors.rank(operator.inputs[0]) - 2
    front = 2 - rank
    if kernel is None:
        kernel = [1] * front + operator.integers("kernel_shape", [])
    strides = [1] * front + operator.integers("strides", [1] * rank)
    dilations = [1] * front + operator.integers("dilations", [1] * rank)
    pads = operator.integers("pads", [0] * 2 * rank)
    begin, end = [0] * front + pads[:rank], [0] * front + pads[rank:]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    automatic = operator.text("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        total = [
            max((-(-n // s) - 1) * s + e - n, 0)
            for n, s, e in zip(size, strides, extent, strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if automatic == "SAME_UPPER" else (large, small)
    elif automatic not in ("NOTSET", "VALID", ""):
        raise UnsupportedError(f"with auto_pad {automatic}")
    output = []
    for n, e, s, b, f in zip(size, extent, strides, begin, end, strict=True):
        steps, rest = divmod(n + b + f - e, s)
        # A window of ceil_mode has to begin inside the image or its first pad.
        if operator.attributes.get("ceil_mode", 0) and rest and (steps + 1) * s < n + b:
            steps += 1
        output.append(steps + 1)
    if min(output) < 1:
        raise UnsupportedError(f"with a kernel larger than its input of {size[0]} × {size[1]}")
    return Window(
        size,
        tuple(kernel),
        tuple(strides),
        tuple(dilations),
        tuple(begin),
        tuple(end),
        tuple(output),
    )
