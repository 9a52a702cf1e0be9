"""quantize.static: a float ONNX model with int8 weights and activations, for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from edgepipe.stage import Context, Field, Metric, Metrics, Stage
from edgepipe_stages import Calibration, Dataset, ImageDataset, OnnxModel


class QuantizeStatic(Stage):
    """Quantize weights and activations to 8 bits, with ranges seen on calibration images.

    The model takes and gives float; inside, QuantizeLinear and DequantizeLinear stand around
    every operator that ONNX Runtime runs in integers.
    """

    inputs = {"model": OnnxModel, "data": ImageDataset}
    outputs = {"model": OnnxModel, "calibration": Calibration, "report": Metrics}
    requires = ("onnx", "onnxruntime", "numpy")
    metrics = {
        "size_bytes": Metric("bytes", "of model.onnx"),
        "size_before_bytes": Metric("bytes", "of the float model.onnx"),
        "quantized_operators": Metric("count", "convolutions and matrix products in integers"),
        "operators": Metric("count", "convolutions and matrix products"),
        "calibration_images": Metric("count", "images that the ranges come from"),
    }

    samples: int = Field(
        200, ge=1, description="calibration images from the train split, at least one a class"
    )
    activations: Literal["u8", "s8"] = Field(
        "u8",
        description="u8: fastest in ONNX Runtime on x86; s8: for ARM, and for TensorRT with"
        " symmetric",
    )
    per_channel: bool = Field(True, description="a scale for each output channel of a weight")
    symmetric: bool = Field(
        False, description="all zero points 0 and biases in float, as TensorRT needs; with s8"
    )
    reduce_range: bool = Field(
        True,
        description="weights in 7 bits: x86 processors without VNNI add products of 8 bits in 16,"
        " and sums that do not fit are cut off; false where all processors are newer or ARM",
    )
    method: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax",
        description="range of an activation: all values; the least information lost; 99.999 %",
    )

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        if self.symmetric and self.activations == "u8":
            yield (
                "symmetric",
                "unsigned activations cannot have zero point 0 and negative values",
                "set activations: s8",
            )

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._agreement import check_classes
        from edgepipe_stages._calibration import calibration_split
        from edgepipe_stages._onnx_quantization import save_quantized, static

        source = ctx.input("model")
        data: Dataset = ctx.input("data")
        interface = OnnxModel.interface(source)
        check_classes(interface, data.interface)
        split = calibration_split(data, self.samples, ctx.seed)
        if len(split) < self.samples:
            ctx.warn(f"only {len(split)} calibration images: the train split has no more")
        ctx.save("calibration", (split, data.interface))
        whole = static(
            source / "model.onnx",
            ctx.output("model") / "model.onnx",
            ctx.scratch,
            interface.normalize(split.images),
            signed=self.activations == "s8",
            per_channel=self.per_channel,
            symmetric=self.symmetric,
            reduce_range=self.reduce_range,
            method=self.method,
            progress=ctx.progress,
        )
        if whole:
            ctx.log(
                "one scale a weight, not one a channel, in grouped transposed convolutions:"
                f" {', '.join(whole)}"
            )
        save_quantized(ctx, "int8", calibration_images=len(split))
