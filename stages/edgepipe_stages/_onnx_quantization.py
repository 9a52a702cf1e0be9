"""Quantizes ONNX files by ONNX Runtime's own tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgepipe.stage import Context, StageError
from edgepipe_stages import OnnxModel
from edgepipe_stages._graph import onnx_file

Method = Literal["minmax", "entropy", "percentile"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

_BATCH = 16
"""Images at a time: histograms need every activation of a batch in memory."""


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Hands out one batch after another; `set_range` and ``len`` are for the strided reading."""

    def __init__(
        self, name: str, images: NDArray[np.float32], size: int, progress: Callable[[int], None]
    ) -> None:
        self._batches = [images[i : i + size] for i in range(0, len(images), size)]
        self._name = name
        self._progress = progress
        self._next, self._end = 0, len(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        if self._next >= self._end:
            return None
        batch = self._batches[self._next]
        self._next += 1
        self._progress(self._next)
        return {self._name: batch}


def static(
    source: Path,
    target: Path,
    scratch: Path,
    images: NDArray[np.float32],
    *,
    signed: bool,
    per_channel: bool,
    symmetric: bool,
    reduce_range: bool,
    method: Method,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Write ``target``: weights in int8, activations between QuantizeLinear and DequantizeLinear.

    Args:
        source: a float model with one input.
        target: the file to write.
        scratch: a folder for files in between.
        images: normalized, in the model's layout; the ranges of activations come from them.
        signed: activations in int8; otherwise uint8.
        per_channel: a scale for each output channel of a weight.
        symmetric: all zero points 0 and biases in float, as TensorRT needs.
        reduce_range: weights in 7 bits.
        method: how a range follows from the values seen.
        progress: told batches done, and of how many.

    Returns:
        the weights that have one scale in spite of ``per_channel``.

    Raises:
        StageError: there is nothing to quantize, the operators are too old for ``per_channel``,
            or ONNX Runtime cannot.
    """
    prepared = _prepare(source, scratch, (*_DYNAMIC, "Conv", "ConvTranspose"))
    model = onnx.load(prepared)
    opset = next(entry.version for entry in model.opset_import if not entry.domain)
    if per_channel and opset < _PER_CHANNEL_OPSET:
        raise StageError(
            f"ONNX's opset {opset} has no scale for each channel of a weight",
            f"set opset_version: {_PER_CHANNEL_OPSET} or later in convert.onnx, or per_channel:"
            " false here",
        )
    graph_input = model.graph.input[0]
    batch = graph_input.type.tensor_type.shape.dim[0].dim_value or _BATCH
    reader = _Batches(graph_input.name, images, batch, lambda n: progress(n, len(reader)))
    options: dict[str, Any] = {"CalibStridedMinMax": 1}
    if symmetric:
        options |= {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    whole = _grouped_transposed(model) if per_channel else []
    options["TensorQuantOverrides"] = {name: [{"quant_type": QuantType.QInt8}] for name in whole}
    try:
        quantize_static(
            prepared,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            # The default is made from a set, whose order differs from process to process.
            op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry}),
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[method],
            extra_options=options,
        )
    except Exception as error:  # onnxruntime raises bare exceptions of many kinds
        raise _failed(error) from error
    return whole


_DYNAMIC = ("MatMul", "Gemm")

_PER_CHANNEL_OPSET = 13
"""The first in which DequantizeLinear takes an axis."""


def _grouped_transposed(model: onnx.ModelProto) -> list[str]:
    """Weights of grouped transposed convolutions.

    Their channels lie in two axes, group and channel of a group, and a scale lies along one.
    """
    return sorted(
        {
            node.input[1]
            for node in model.graph.node
            if node.op_type == "ConvTranspose" and onnx_file.attributes(node).get("group", 1) > 1
        }
    )


def dynamic(
    source: Path, target: Path, scratch: Path, *, per_channel: bool, reduce_range: bool
) -> None:
    """Write ``target``: weights of matrix products in int8, their inputs quantized while running.

    Convolutions stay in float: ONNX Runtime's dynamic ones are 5 to 13 times slower than float.

    Raises:
        StageError: the model has no matrix product with constant weights, or ONNX Runtime cannot.
    """
    prepared = _prepare(source, scratch, _DYNAMIC)
    try:
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=list(_DYNAMIC),
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    except Exception as error:  # as above
        raise _failed(error) from error


def quantized_products(path: Path) -> tuple[int, int]:
    """How many convolutions and matrix products have integer weights, and how many there are."""
    model = onnx_file.load(path)
    dequantized = {
        node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
    }
    products = {op.outputs[0] for op in onnx_file.read(model).products}
    nodes = [node for node in model.graph.node if node.output[0] in products]
    quantized = [
        node
        for node in nodes
        if node.op_type.startswith("Q")
        or node.op_type.endswith("Integer")
        or node.input[1] in dequantized
    ]
    return len(quantized), len(nodes)


def save_quantized(ctx: Context, precision: str, **numbers: float) -> None:
    """Write the description of the output ``model``, and the ``report``: sizes and counts.

    Args:
        ctx: its input ``model`` is the float model; ``model.onnx`` of the output is written.
        precision: of the output.
        numbers: what else the report says.
    """
    source, target = ctx.input("model"), ctx.output("model") / "model.onnx"
    ctx.save("model", OnnxModel.describe(source) | {"precision": precision})
    quantized, products = quantized_products(target)
    sizes = {
        "size_bytes": target.stat().st_size,
        "size_before_bytes": (source / "model.onnx").stat().st_size,
        "quantized_operators": quantized,
        "operators": products,
    }
    ctx.save("report", {**sizes, **numbers})


def _prepare(source: Path, scratch: Path, types: tuple[str, ...]) -> Path:
    """Infer shapes and fold constants: the quantizer cannot do with less."""
    model = onnx_file.load(source)
    present = {node.op_type for node in model.graph.node}
    if "QuantizeLinear" in present or "DynamicQuantizeLinear" in present:
        raise StageError("the model is already quantized", "connect the float ONNX model")
    products = [op for op in onnx_file.read(model).products if op.product]
    constant = {op.type for op in products if op.product and op.product.weight is not None}
    if not constant & set(types):
        found = ", ".join(sorted(present))
        raise StageError(
            f"the model has nothing to quantize: no {' or '.join(sorted(types))} with constant"
            " weights",
            f"its operators: {found}"
            + ("\nfor convolutions use quantize.static" if "Conv" in present else ""),
        )
    prepared = scratch / "prepared.onnx"
    try:
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
    except Exception as error:  # as above
        raise _failed(error) from error
    return prepared


def _failed(error: Exception) -> StageError:
    return StageError(
        f"ONNX Runtime cannot quantize the model: {type(error).__name__}: {error}",
        "its whole message is in the node's log",
    )
