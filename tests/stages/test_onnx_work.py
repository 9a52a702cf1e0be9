"""Work of ONNX operators, counted by hand: plain, quantized and fused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_texts import floats, save_text, scale, small, work, zero

from edgepipe_stages._work import Work

U8 = np.uint8
INTEGERS = "q = Cast <to = 2> (x)"
CONV = {"w": floats(6, 2, 3, 3), "b": floats(6)}
Q_CONV = {
    "xs": scale(),
    "xz": zero(dtype=U8),
    "w": small(6, 2, 3, 3),
    "ws": scale(6),
    "wz": zero(6),
}

CASES: dict[str, tuple[str, dict[str, Any], str, int, int]] = {
    # body, weights, shape of x, multiply-accumulates, parameters
    "matrices": ("y = MatMul (x, w)", {"w": floats(4, 5)}, "3,4", 3 * 4 * 5, 20),
    "batches": ("y = MatMul (x, w)", {"w": floats(2, 1, 4, 5)}, "6,3,4", 2 * 6 * 3 * 4 * 5, 40),
    "vector": ("y = MatMul (x, w)", {"w": floats(4)}, "2,3,4", 2 * 3 * 4, 4),
    "vector before": ("y = MatMul (w, x)", {"w": floats(3)}, "2,3,4", 2 * 3 * 4, 3),
    "vectors": ("y = MatMul (x, w)", {"w": floats(4)}, "4", 4, 4),
    "gemm": ("y = Gemm (x, w, b)", {"w": floats(4, 5), "b": floats(5)}, "3,4", 60, 25),
    "gemm, turned": (
        "y = Gemm <transA = 1, transB = 1> (x, w)",
        {"w": floats(5, 4)},
        "4,3",
        3 * 4 * 5,
        20,
    ),
    "conv": ("y = Conv <group = 2> (x, w, b)", CONV, "1,4,5,5", 6 * 9 * 2 * 9, 114),
    "line": ("y = Conv (x, w)", {"w": floats(6, 4, 3)}, "1,4,9", 6 * 7 * 12, 72),
    "transposed": (
        "y = ConvTranspose <group = 2, strides = [2, 2]> (x, w)",
        {"w": floats(4, 3, 2, 2)},
        "1,4,5,5",
        4 * 25 * 3 * 4,
        48,
    ),
    "integer conv": (
        f"{INTEGERS} i = ConvInteger (q, w) y = Cast <to = 1> (i)",
        {"w": small(6, 4, 3, 3)},
        "1,4,5,5",
        6 * 9 * 36,
        216,
    ),
    "quantized conv": (
        f"{INTEGERS} i = QLinearConv <group = 2> (q, xs, xz, w, ws, wz, xs, xz, b)"
        " y = DequantizeLinear (i, xs, xz)",
        Q_CONV | {"b": np.arange(6, dtype=np.int32)},
        "1,4,5,5",
        6 * 9 * 18,
        114,
    ),
    "integer matrices": (
        f"{INTEGERS} i = MatMulInteger (q, w, , wz) y = Cast <to = 1> (i)",
        {"w": small(4, 5), "wz": zero(5)},
        "3,4",
        60,
        20,
    ),
    "quantized matrices": (
        f"{INTEGERS} i = QLinearMatMul (q, xs, xz, w, ws, wz, xs, xz)"
        " y = DequantizeLinear (i, xs, xz)",
        {"xs": scale(), "xz": zero(dtype=U8), "w": small(4, 5), "ws": scale(5), "wz": zero(5)},
        "3,4",
        60,
        20,
    ),
    "quantized gemm": (
        f"{INTEGERS} y = com.microsoft.QGemm <transB = 1> (q, xs, xz, w, ws, wz, b)",
        {
            "xs": scale(),
            "xz": zero(dtype=U8),
            "w": small(5, 4),
            "ws": scale(5),
            "wz": zero(5),
            "b": np.arange(5, dtype=np.int32),
        },
        "3,4",
        60,
        25,
    ),
    "4 bits": (
        "y = com.microsoft.MatMulNBits <K = 32, N = 8, bits = 4, block_size = 32> (x, w, s)",
        {"w": small(8, 1, 16, dtype=U8), "s": scale(8)},
        "3,32",
        3 * 32 * 8,
        256,
    ),
    "quantized lstm": (
        "y = com.microsoft.DynamicQuantizeLSTM <hidden_size = 3> (x, w, r, b, , , , , s, z, s, z)",
        {
            "w": small(1, 4, 12),
            "r": small(1, 3, 12),
            "b": floats(1, 24),
            "s": scale(1),
            "z": zero(1),
        },
        "7,2,4",
        7 * 2 * 12 * (4 + 3),
        48 + 36 + 24,
    ),
    "lstm with peepholes": (
        "y = LSTM <hidden_size = 3> (x, w, r, b, , h, c, p)",
        {
            "w": floats(1, 12, 4),
            "r": floats(1, 12, 3),
            "b": floats(1, 24),
            "h": floats(1, 2, 3),
            "c": np.zeros((1, 2, 3), np.float32),
            "p": floats(1, 9),
        },
        "7,2,4",
        7 * 2 * 12 * 7,
        48 + 36 + 24 + 9 + 6,
    ),
    "fused conv": (
        'y = com.microsoft.FusedConv <group = 2, activation = "Relu"> (x, w, b)',
        CONV,
        "1,4,5,5",
        6 * 9 * 18,
        114,
    ),
    "fused matrices": (
        "y = com.microsoft.FusedMatMul <transA = 1, transB = 1> (x, w)",
        {"w": floats(5, 4)},
        "4,3",
        60,
        20,
    ),
    "fused attention": (
        "y = com.microsoft.Attention <num_heads = 2> (x, w, b)",
        {"w": floats(6, 24), "b": floats(24)},
        "1,5,6",
        5 * 6 * 24 + 2 * 5 * 5 * 8,
        6 * 24 + 24,
    ),
    "fused attention, narrow values": (
        "y = com.microsoft.Attention <num_heads = 2, qkv_hidden_sizes = [8, 8, 4]> (x, w, b)",
        {"w": floats(6, 20), "b": floats(20)},
        "1,5,6",
        5 * 6 * 20 + 5 * 5 * (8 + 4),
        6 * 20 + 20,
    ),
    "heads": (
        "y = com.microsoft.MultiHeadAttention <num_heads = 2> (x, k, k)",
        {"k": floats(1, 7, 4)},
        "1,5,4",
        2 * 5 * 7 * 4,
        28,
    ),
    "grid": (
        "y = AffineGrid (x, s)",
        {"s": np.array([1, 3, 4, 5], np.int64)},
        "1,2,3",
        4 * 5 * 2 * 3,
        0,
    ),
    "einsum": (
        'y = Einsum <equation = "bij,jk->bik"> (x, w)',
        {"w": floats(4, 5)},
        "2,3,4",
        120,
        20,
    ),
    "resize": (
        'y = Resize <mode = "nearest"> (x, , s)',
        {"s": np.array([1, 1, 2, 2], np.float32)},
        "1,4,5,5",
        0,
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(tmp_path: Path, name: str) -> None:
    body, weights, shape, macs, parameters = CASES[name]
    batch = int(shape.split(",")[0])
    assert macs % batch == 0
    found = work(save_text(tmp_path, body, weights, shape))
    assert found == Work(macs // batch, parameters)


def test_attention(tmp_path: Path) -> None:
    body = "y, l, m = Attention (x, k, v, , p, p)"
    given = {"k": floats(1, 2, 7, 4), "v": floats(1, 2, 7, 4), "p": floats(1, 2, 3, 4)}
    folder = save_text(tmp_path, body, given, "1,2,5,4", opset=23)
    assert work(folder).macs == 2 * 2 * 5 * (7 + 3) * 4


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    body = "t = MatMul (x, w) u = com.microsoft.Inverse (t) y = com.microsoft.Inverse (u)"
    found = work(save_text(tmp_path, body, {"w": floats(4, 4)}, "4,4"))
    assert found.macs == 16
    assert found.uncounted == ("com.microsoft.Inverse 'u'", "com.microsoft.Inverse 'y'")
    assert found.left_out == (
        "macs leaves out operators whose work is not known: com.microsoft.Inverse 'u',"
        " com.microsoft.Inverse 'y'"
    )


def test_nothing_is_left_out_of_what_is_known() -> None:
    assert Work(1, 2).left_out is None
    many = Work(1, 2, tuple(f"Odd '{i}'" for i in range(8))).left_out
    assert many is not None
    assert many.endswith("Odd '4' and 3 more")
