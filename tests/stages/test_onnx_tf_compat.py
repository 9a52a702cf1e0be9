from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from edgepipe_stages._onnx_export import to_onnx
from edgepipe_stages._onnx_tf import compat
from edgepipe_stages._onnx_tf.fusions import fuse
from edgepipe_stages._onnx_tf.graph import evaluate, read_graph


def test_onnx_tf_imports_and_leaves_no_stand_in_behind():
    assert {"Conv", "Gemm", "Hardmax", "Einsum"} <= compat.handlers().keys()
    for name in ("onnx.mapping", "tensorflow_addons", "tensorflow_probability"):
        module = sys.modules.get(name)
        assert module is None or module.__spec__ is not None


@pytest.mark.parametrize(
    ("op_type", "opset", "known"),
    [
        ("Einsum", 14, True),
        ("Squeeze", 20, True),  # an older handler does: axes are an attribute again by then
        ("CumSum", 13, True),
        ("GridSample", 17, False),
        ("Hardmax", 13, True),
        ("Resize", 19, False),  # what it means has changed since
        ("NoSuchOperator", 14, False),
    ],
)
def test_which_operators_onnx_tf_takes(op_type, opset, known):
    assert compat.has_handler(op_type, opset) is known


def test_a_constant_node_is_evaluated():
    node = helper.make_node("Gather", ["table", "index"], ["out"], axis=0)
    table, index = np.array([3, 5, 7]), np.array(2)
    [value] = evaluate(node, {"table": table, "index": index}, 14)
    assert value == 7


class Gelus(torch.nn.Module):
    """The three ways to write it; the fourth one is no GELU."""

    def forward(self, x):
        first = x * 0.5 * (1 + torch.erf(x / 2**0.5))
        second = 0.5 * (first * (1 + torch.erf(first * 0.5**0.5)))
        third = torch.nn.functional.gelu(second)
        return third * 0.5 * (1 + torch.erf(third / 2))


def test_gelu_is_found_however_it_is_written():
    model = to_onnx(Gelus(), torch.zeros(1, 3, 4, 4), 14, dynamic_batch=True)
    graph = fuse(read_graph(model))
    kinds = [node.op_type for node in graph.nodes]
    assert kinds.count("Gelu") == 3
    assert kinds.count("Erf") == 1
    assert len(kinds) == 3 + 5


def test_initializers_of_any_kind_are_constants():
    weight = numpy_helper.from_array(np.ones(3, np.float32), "weight")
    constant = helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array(2)))
    image = helper.make_tensor_value_info("image", 1, ["n", 3, 8, 8])
    out = helper.make_empty_tensor_value_info("out")
    node = helper.make_node("Identity", ["image"], ["out"])
    graph = read_graph(
        helper.make_model(helper.make_graph([constant, node], "g", [image], [out], [weight]))
    )
    assert set(graph.constants) == {"weight", "two"}
    assert graph.input_shape == (1, 3, 8, 8)
