"""Tensors whose axes may be stored in another order than ONNX counts them.

ONNX puts channels first, TensorFlow Lite last. Here a transpose is a change of the order alone,
and moves data only where an operator insists on another one: a convolutional network keeps its
channels last from the first convolution to the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Order = tuple[int, ...]
Array = NDArray[Any]


def onnx_order(rank: int) -> Order:
    """The order in which ONNX counts the axes."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """N, spatial axes, C."""
    return (0, *range(2, rank), 1)


@dataclass(frozen=True)
class Value:
    """A tensor and the order of its axes: axis ``i`` of ``stored`` is ONNX's axis ``order[i]``."""

    stored: tf.Tensor
    order: Order

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as ONNX counts the axes."""
        stored = self.stored.shape.as_list()
        return tuple(stored[self.order.index(axis)] for axis in range(len(stored)))

    def arranged(self, order: Order) -> tf.Tensor:
        """The same numbers in another order. Axes of length 1 are moved without a transpose."""
        if order == self.order:
            return self.stored
        shape = self.shape
        long = [axis for axis in order if shape[axis] != 1]
        if long == [axis for axis in self.order if shape[axis] != 1]:
            return tf.reshape(self.stored, [shape[axis] for axis in order])
        return tf.transpose(self.stored, [self.order.index(axis) for axis in order])


class Tensors(dict[str, Any]):
    """What a graph has computed so far, by ONNX name.

    Indexing gives a tensor in ONNX's order, as onnx-tf's handlers expect it. Constants stay
    numpy arrays until one of these handlers asks for them.
    """

    def __init__(self, constants: dict[str, Array]) -> None:
        super().__init__()
        self.constants = constants
        self.shuffled: dict[str, Array] = {}
        """Flattened tensors that only matrix products read: element ``i`` of the stored one is
        element ``shuffled[name][i]`` of ONNX's."""
        self.nonnegative: set[str] = set()
        self._arranged: dict[tuple[str, Order], tf.Tensor] = {}

    def __getitem__(self, name: str) -> tf.Tensor:
        return self.arranged(name, onnx_order(self.rank(name)))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.constants

    def get(self, name: str, default: Any = None) -> Any:
        """The tensor in ONNX's order, or ``default``."""
        return self[name] if name in self else default  # noqa: SIM401  dict.get would not arrange

    def value(self, name: str) -> Value:
        """The tensor as it is stored."""
        if not super().__contains__(name):
            constant = tf.constant(self.constants[name], name="constant")
            self.put(name, constant)
        value: Value = super().__getitem__(name)
        return value

    def put(self, name: str, stored: tf.Tensor, order: Order | None = None) -> None:
        """Add a tensor; without an ``order`` it is in ONNX's."""
        super().__setitem__(name, Value(stored, order or onnx_order(stored.shape.rank)))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape as ONNX counts the axes."""
        if name in self.constants:
            return tuple(self.constants[name].shape)
        return self.value(name).shape

    def rank(self, name: str) -> int:
        """How many axes."""
        return len(self.shape(name))

    def order(self, name: str) -> Order:
        """The order in which the tensor is stored."""
        if name in self.constants:
            return onnx_order(self.rank(name))
        return self.value(name).order

    def arranged(self, name: str, order: Order) -> tf.Tensor:
        """The tensor in the given order."""
        if name in self.constants:
            return tf.constant(self.constants[name].transpose(order))
        key = (name, order)
        if key not in self._arranged:
            self._arranged[key] = self.value(name).arranged(order)
        return self._arranged[key]

    def broadcast(self, name: str, order: Order) -> tf.Tensor:
        """The tensor with leading axes of length 1 up to the rank of ``order``, in that order.

        A scalar stays one.
        """
        missing = len(order) - self.rank(name)
        if missing == 0 or self.rank(name) == 0:
            return self.arranged(name, order if missing == 0 else ())
        if name in self.constants:
            constant = self.constants[name]
            wide = constant.reshape((1,) * missing + constant.shape)
            return tf.constant(wide.transpose(order))
        value = self.value(name)
        stored = tf.reshape(value.stored, [1] * missing + value.stored.shape.as_list())
        wide_order = (*range(missing), *(axis + missing for axis in value.order))
        return Value(stored, wide_order).arranged(order)


def reshaped(value: Value, shape: Sequence[int]) -> Value:
    """Reshape as ONNX defines it, keeping the stored order where no group of axes is torn apart.

    Axes are matched in groups of equal size: (N, C, H, W) to (N, C, H·W) has the groups N, C and
    (H, W). A group whose axes are stored side by side and in ONNX's order is reshaped in place.
    """
    groups = _groups(value.shape, tuple(shape))
    position = {axis: i for i, axis in enumerate(value.order)}
    groups.sort(key=lambda group: min((position[a] for a in group[0]), default=len(position)))
    wanted = tuple(axis for old, _ in groups for axis in old)
    order = tuple(axis for _, new in groups for axis in new)
    stored = tf.reshape(value.arranged(wanted), [shape[axis] for axis in order])
    return Value(stored, order)


def flat_order(value: Value) -> Array:
    """Where the elements of the stored tensor stand in ONNX's flattened one."""
    shape = value.shape
    return np.arange(prod(shape)).reshape(shape).transpose(value.order).reshape(-1)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    groups = []
    i = j = 0
    while i < len(old) and j < len(new):
        left, right = old[i], new[j]
        end_i, end_j = i + 1, j + 1
        while left != right:
            if left < right:
                left *= old[end_i]
                end_i += 1
            else:
                right *= new[end_j]
                end_j += 1
        groups.append((list(range(i, end_i)), list(range(j, end_j))))
        i, j = end_i, end_j
    # What is left over has length 1.
    groups += [([axis], []) for axis in range(i, len(old))]
    groups += [([], [axis]) for axis in range(j, len(new))]
    return groups
