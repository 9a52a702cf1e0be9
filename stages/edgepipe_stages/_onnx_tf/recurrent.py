"""RNN, GRU and LSTM, step by step: the number of columns or time steps is known, and small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator, UnsupportedError
from edgepipe_stages._onnx_tf.tensors import Array

_MOST_STEPS = 512
_ACTIVATIONS = {
    "RNN": ["tanh"],
    "GRU": ["sigmoid", "tanh"],
    "LSTM": ["sigmoid", "tanh", "tanh"],
}

Step = Callable[[tf.Tensor, tuple[tf.Tensor, ...]], tuple[tf.Tensor, ...]]
"""The next state of an input, already multiplied with its weights, and a state."""


def _recurrent(cell: Callable[[Operator, int], Step], states: int, operator: Operator) -> None:
    """Unroll: outputs are all hidden states (T × directions × N × H), then the last states."""
    _refuse_unusual(operator)
    x = operator.tensors[operator.inputs[0]]
    if int(operator.attributes.get("layout", 0)):
        raise UnsupportedError("with the batch first (layout 1)")
    steps, batch, size = (int(n) for n in x.shape)
    directions = {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}[
        operator.text("direction", "forward")
    ]
    if steps * len(directions) > _MOST_STEPS:
        raise UnsupportedError(f"over {steps} steps: it is unrolled, {_MOST_STEPS} at most")
    hidden = operator.constant(2, "weights").shape[2]
    weights = operator.constant(1, "weights")
    every, last = [], []
    for direction, sign in enumerate(directions):
        # One product for all steps: only the recurrent one has to wait for the step before.
        projected = tf.matmul(tf.reshape(x, [steps * batch, size]), weights[direction].T)
        projected = projected + _bias(operator, direction)
        inputs = tf.split(projected, steps, 0)[::sign]
        step = cell(operator, direction)
        state = tuple(_initial(operator, 5 + i, direction, batch, hidden) for i in range(states))
        outputs = []
        for each in inputs:
            state = step(each, state)
            outputs.append(state[0])
        every.append(tf.stack(outputs[::sign]))
        last.append(state)
    results = [tf.stack(every, 1)] + [tf.stack([s[i] for s in last]) for i in range(states)]
    for i, name in enumerate(operator.outputs):
        if name:
            operator.put(results[i], output=i)


def _refuse_unusual(operator: Operator) -> None:
    if operator.has(4):
        raise UnsupportedError("with sequences of several lengths")
    if operator.has(7) or "clip" in operator.attributes or operator.attributes.get("input_forget"):
        raise UnsupportedError("with peepholes, clipping or coupled gates")
    names = [name.decode().lower() for name in operator.attributes.get("activations", [])]
    usual = _ACTIVATIONS[operator.type]
    if names and names != usual * (len(names) // len(usual)):
        raise UnsupportedError(f"with the activations {', '.join(names)}")


def _bias(operator: Operator, direction: int) -> Array:
    """What is added to the product with the input: for all but GRU, both biases."""
    gates = operator.constant(1, "weights").shape[1]
    if not operator.has(3):
        return np.zeros(gates, np.float32)
    both: Array = operator.constant(3, "biases")[direction]
    return both[:gates] if operator.type == "GRU" else both[:gates] + both[gates:]


def _initial(operator: Operator, index: int, direction: int, batch: int, hidden: int) -> tf.Tensor:
    if not operator.has(index):
        return tf.zeros([batch, hidden])
    return operator.tensors[operator.inputs[index]][direction]


def _recurrence(operator: Operator, direction: int) -> Array:
    recurrence: Array = operator.constant(2, "weights")[direction].T
    return recurrence


def _rnn(operator: Operator, direction: int) -> Step:
    recurrence = _recurrence(operator, direction)

    def step(x: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        return (tf.tanh(x + tf.matmul(state[0], recurrence)),)

    return step


def _lstm(operator: Operator, direction: int) -> Step:
    recurrence = _recurrence(operator, direction)

    def step(x: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        hidden, cell = state
        gates = tf.split(x + tf.matmul(hidden, recurrence), 4, 1)
        take, give, forget = (tf.sigmoid(gate) for gate in gates[:3])
        cell = forget * cell + take * tf.tanh(gates[3])
        return give * tf.tanh(cell), cell

    return step


def _gru(operator: Operator, direction: int) -> Step:
    recurrence = _recurrence(operator, direction)
    size = recurrence.shape[0]
    bias = np.zeros(3 * size, np.float32)
    if operator.has(3):
        bias = operator.constant(3, "biases")[direction][3 * size :]
    before = bool(operator.attributes.get("linear_before_reset", 0))

    def step(x: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        (hidden,) = state
        update_x, reset_x, new_x = tf.split(x, 3, 1)
        gates = tf.matmul(hidden, recurrence[:, : 2 * size]) + bias[: 2 * size]
        update_h, reset_h = tf.split(gates, 2, 1)
        update, reset = tf.sigmoid(update_x + update_h), tf.sigmoid(reset_x + reset_h)
        weight, shift = recurrence[:, 2 * size :], bias[2 * size :]
        if before:
            new = tf.tanh(new_x + reset * (tf.matmul(hidden, weight) + shift))
        else:
            new = tf.tanh(new_x + tf.matmul(reset * hidden, weight) + shift)
        return (new + update * (hidden - new),)

    return step


HANDLERS: dict[str, Handler] = {
    "RNN": partial(_recurrent, _rnn, 1),
    "GRU": partial(_recurrent, _gru, 1),
    "LSTM": partial(_recurrent, _lstm, 2),
}
