"""Work of TFLite operators, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_files import Shape, convert, convert_layer, save_operator

from edgepipe_stages._graph.tflite_file import File
from edgepipe_stages._graph.tflite_work import work
from edgepipe_stages._runtime.litert import LiteRT
from edgepipe_stages._tensorflow import import_tensorflow
from edgepipe_stages._work import Work

# TensorFlow's own conversion warns of what is to come.
pytestmark = pytest.mark.filterwarnings("ignore")


def normal(*shape: int) -> Any:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return import_tensorflow().constant(values)


LAYERS: dict[str, tuple[Callable[[Any], Any], Shape, int, int]] = {
    # layer, shape, multiply-accumulates, parameters
    "lstm": (lambda k: k.LSTM(5), (1, 7, 4), 7 * 20 * (4 + 5), 200),
    "lstm, both ways": (
        lambda k: k.Bidirectional(k.LSTM(5, return_sequences=True)),
        (1, 7, 4),
        2 * 7 * 20 * 9,
        400,
    ),
    "conv": (lambda k: k.Conv2D(6, 3, groups=2), (1, 5, 5, 4), 9 * 6 * 2 * 9, 114),
    "depthwise": (
        lambda k: k.DepthwiseConv2D(3, depth_multiplier=2),
        (1, 5, 5, 4),
        9 * 8 * 9,
        80,
    ),
    "transposed": (
        lambda k: k.Conv2DTranspose(6, 3, strides=2),
        (1, 5, 5, 2),
        25 * 2 * 6 * 9,
        114,
    ),
    "space": (lambda k: k.Conv3D(6, 3), (1, 5, 5, 5, 2), 27 * 6 * 2 * 27, 330),
    "space, transposed": (
        lambda k: k.Conv3DTranspose(6, 3),
        (1, 4, 4, 4, 2),
        64 * 2 * 6 * 27,
        330,
    ),
    "linear": (lambda k: k.Dense(5), (1, 3, 4), 3 * 4 * 5, 25),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_by_hand(tmp_path: Path, name: str) -> None:
    make, shape, macs, parameters = LAYERS[name]
    layer = make(import_tensorflow().keras.layers)
    convert_layer(tmp_path / "model.tflite", layer, shape)
    assert LiteRT(tmp_path, 1, str).work() == Work(macs, parameters)


FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int | None, ...], int]] = {
    "vector": (lambda tf, x: tf.linalg.matvec(x, normal(4)), (2, 3, 4), 2 * 3 * 4),
    "batches": (lambda tf, x: tf.matmul(x, normal(2, 4, 5)), (2, 3, 4), 2 * 3 * 4 * 5),
    "batches, turned": (
        lambda tf, x: tf.matmul(x, normal(2, 5, 4), transpose_b=True),
        (2, 3, 4),
        2 * 3 * 4 * 5,
    ),
    "itself": (lambda tf, x: tf.matmul(x, x, transpose_a=True), (2, 3, 4), 2 * 4 * 3 * 4),
    "open batch": (lambda tf, x: tf.matmul(x, normal(4, 5)), (None, 4), 4 * 5),
    "open inside": (
        lambda tf, x: tf.matmul(tf.boolean_mask(x[0], [True, False, True]), normal(4, 5)),
        (1, 3, 4),
        2 * 4 * 5,
    ),
    "branches alike": (
        lambda tf, x: tf.cond(
            tf.reduce_sum(x) > 0,
            lambda: tf.matmul(x, normal(4, 5)),
            lambda: tf.matmul(-x, normal(4, 5)),
        ),
        (3, 4),
        60,
    ),
    "loop without products": (
        lambda tf, x: tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: [y + 1], [x])[0],
        (3, 4),
        0,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_by_hand(tmp_path: Path, name: str) -> None:
    function, shape, macs = FUNCTIONS[name]
    tf = import_tensorflow()
    convert(tmp_path / "model.tflite", lambda x: function(tf, x), shape)
    found = LiteRT(tmp_path, 1, str).work()
    assert (found.macs, found.uncounted) == (macs, ())


def test_weights_of_batches_are_as_of_linear_layers(tmp_path: Path) -> None:
    tf, weight = import_tensorflow(), normal(2, 5, 4)
    for name, function in {
        "as it is": lambda x: tf.matmul(x, tf.transpose(weight, (0, 2, 1))),
        "turned": lambda x: tf.matmul(x, weight, transpose_b=True),
    }.items():
        file = File(convert(tmp_path / f"{name}.tflite", function, (2, 3, 4)))
        [op] = file.read().products
        assert op.product
        assert op.product.weight is not None
        assert np.array_equal(op.product.weight, weight.numpy()), name


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    tf = import_tensorflow()
    file = File(
        convert(
            tmp_path / "flex.tflite", lambda x: tf.linalg.inv(tf.matmul(x, x)), (4, 4), flex=True
        )
    )
    found = work(file, {})
    assert found.macs == 64
    assert [name.split()[0] for name in found.uncounted] == ["FlexMatrixInverse"]


def test_loops_and_unlike_branches_are_named(tmp_path: Path) -> None:
    tf = import_tensorflow()
    layer = tf.keras.layers.GRU(5)
    found = work(File(convert_layer(tmp_path / "loop.tflite", layer, (1, 7, 4))), {})
    assert found.macs == 0
    assert [name.split()[0] for name in found.uncounted] == ["WHILE"]
    assert found.parameters == 3 * 5 * (4 + 5) + 2 * 15

    def branches(x: Any) -> Any:
        return tf.cond(
            tf.reduce_sum(x) > 0, lambda: tf.matmul(x, normal(4, 5)), lambda: tf.zeros((3, 5))
        )

    found = work(File(convert(tmp_path / "branch.tflite", branches, (3, 4))), {})
    assert [name.split()[0] for name in found.uncounted] == ["IF"]


BOTH_WAYS: list[Shape | None] = [None] * 48
BOTH_WAYS[0] = (7, 1, 4)
for first in (1, 18):
    BOTH_WAYS[first : first + 4] = [(5, 4)] * 4
    BOTH_WAYS[first + 4 : first + 8] = [(5, 3)] * 4
    BOTH_WAYS[first + 11 : first + 15] = [(5,)] * 4
    BOTH_WAYS[first + 15] = (3, 5)
OPERATORS: dict[str, tuple[list[Shape | None], Shape, int]] = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": (BOTH_WAYS, (7, 1, 3), 2 * 7 * (20 * (4 + 3) + 15)),
    "BIDIRECTIONAL_SEQUENCE_RNN": (
        [(7, 1, 4), (5, 4), (5, 5), (5,), (1, 5), (5, 4), (5, 5), (5,), (1, 5)],
        (7, 1, 5),
        2 * 7 * 5 * 9,
    ),
    "UNIDIRECTIONAL_SEQUENCE_RNN": ([(1, 7, 4), (5, 4), (5, 5), (5,), (1, 5)], (1, 7, 5), 7 * 45),
    "RNN": ([(1, 4), (5, 4), (5, 5), (5,), (1, 5)], (1, 5), 45),
    "LSTM": ([(1, 4), (1, 5), (20, 9), (20,), (1, 5)], (1, 5), 20 * 9),
    "SVDF": ([(1, 4), (6, 4), (6, 3), (3,), (1, 18)], (1, 3), 6 * 4 + 6 * 3),
    "STABLEHLO_ADD": ([(1, 4), (1, 4)], (1, 4), 0),
}


@pytest.mark.parametrize("type_", OPERATORS)
def test_operators_by_hand(tmp_path: Path, type_: str) -> None:
    inputs, output, macs = OPERATORS[type_]
    file = File(save_operator(tmp_path / "model.tflite", type_, inputs, output))
    assert work(file, {}) == Work(macs, 0)


def test_operators_that_call_others_in_ways_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    file = File(save_operator(path, "STABLEHLO_DOT_GENERAL", [(3, 4), (4, 5)], (3, 5), [1]))
    assert work(file, {}) == Work(0, 20, ("STABLEHLO_DOT_GENERAL '0: t2'",))


def test_weights_of_4_bits(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    file = File(save_operator(path, "FULLY_CONNECTED", [(1, 3), (5, 3)], (1, 5), [1], int4=True))
    assert work(file, {}) == Work(15, 15)
    [op] = file.read().products
    assert op.product
    assert op.product.weight is not None
    assert op.product.weight.shape == (5, 3)
    assert op.product.weight.ravel()[:4].tolist() == [0.5, -1, 0.5, -1]
