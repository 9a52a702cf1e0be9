"""Work of ONNX operators inside of others: in branches, loops and functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx_texts import floats, save_text, work

from edgepipe_stages._runtime.onnx_runtime import OnnxRuntime
from edgepipe_stages._work import Work

IF = """
one = Constant <value = float {1.0}> ()
many = ReduceSum <keepdims = 0> (x)
sure = Greater (many, one)
y = If (sure) <
    then_branch = a () => (float p) { p = MatMul (x, w) },
    else_branch = b () => (float q) { t = MatMul (x, u) q = MatMul (t, v) }
>
"""


def test_the_branch_that_runs(tmp_path: Path) -> None:
    given = {"w": floats(4, 5), "v": floats(2, 5)}
    # Zeros are not greater than 1.
    assert work(save_text(tmp_path, IF, given, inner={"u": floats(4, 2)})) == Work(
        4 * 2 + 2 * 5, 20 + 10 + 8
    )


def test_as_often_as_a_loop_turns(tmp_path: Path) -> None:
    body = """
    n = Constant <value = int64 {3}> ()
    sure = Constant <value = bool {1}> ()
    y = Loop (n, sure, x) <body = b (int64 i, bool go, float[1, 4] s) => (bool on, float[1, 4] t) {
        on = Identity (go)
        t = MatMul (s, w)
    }>
    """
    assert work(save_text(tmp_path, body, {"w": floats(4, 4)})) == Work(3 * 16, 16)


def test_as_often_as_a_scan_steps(tmp_path: Path) -> None:
    body = """
    s = Squeeze (x, first)
    z = Constant <value = float[2] {0.0, 0.0}> ()
    e, y = Scan <num_scan_inputs = 1, body = b (float[2] h, float[4] r)
        => (float[2] k, float[2] o) {
        m = MatMul (r, w)
        k = Add (m, h)
        o = Identity (k)
    }> (z, s)
    """
    given = {"w": floats(4, 2), "first": np.array([0], np.int64)}
    assert work(save_text(tmp_path, body, given, "1,5,4")).macs == 5 * 4 * 2


FUNCTIONS = """
<domain: "own", opset_import: ["": 21, "own": 1]>
Twice (a, b) => (c) { t = own.Once (a, b) c = own.Once (t, b) }
<domain: "own", opset_import: ["": 21]>
Once (a, b) => (c) { k = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> () t = MatMul (a, b) c = Add (t, k) }
"""


def test_operators_in_functions_of_the_file(tmp_path: Path) -> None:
    body = "y = own.Twice (x, w)"
    folder = save_text(tmp_path, body, {"w": floats(4, 4)}, functions=FUNCTIONS)
    assert work(folder) == Work(2 * 16, 16 + 2 * 4)
    graph = OnnxRuntime(folder, 1, str).graph()
    assert [op.type for op in graph.products] == ["MatMul", "MatMul"]
    tensors = OnnxRuntime(folder, 1, str).tensors([graph.output], np.ones((1, 4), np.float32))
    assert tensors[graph.output].shape == (1, 4)


def test_a_function_called_like_an_operator(tmp_path: Path) -> None:
    functions = FUNCTIONS.replace("Twice", "Gemm").replace("Once", "Conv")
    folder = save_text(tmp_path, "y = own.Gemm (x, w)", {"w": floats(4, 4)}, functions=functions)
    assert work(folder).macs == 2 * 16
