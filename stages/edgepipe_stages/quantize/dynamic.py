"""quantize.dynamic: an ONNX model whose matrix products run in int8, without calibration."""

from __future__ import annotations

from edgepipe.stage import Context, Field, Metric, Metrics, Stage
from edgepipe_stages import OnnxModel


class QuantizeDynamic(Stage):
    """Quantize the weights of MatMul and Gemm to int8; their inputs are quantized while running.

    Convolutions stay in float: ONNX Runtime's dynamic ones are several times slower than float.
    """

    inputs = {"model": OnnxModel}
    outputs = {"model": OnnxModel, "report": Metrics}
    requires = ("onnx", "onnxruntime")
    seeded = False
    metrics = {
        "size_bytes": Metric("bytes", "of model.onnx"),
        "size_before_bytes": Metric("bytes", "of the float model.onnx"),
        "quantized_operators": Metric("count", "matrix products in integers"),
        "operators": Metric("count", "convolutions and matrix products"),
    }

    per_channel: bool = Field(True, description="a scale for each output channel of a weight")
    reduce_range: bool = Field(
        True,
        description="weights in 7 bits: x86 processors without VNNI add products of 8 bits in 16,"
        " and sums that do not fit are cut off; false where all processors are newer or ARM",
    )

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._onnx_quantization import dynamic, save_quantized

        dynamic(
            ctx.input("model") / "model.onnx",
            ctx.output("model") / "model.onnx",
            ctx.scratch,
            per_channel=self.per_channel,
            reduce_range=self.reduce_range,
        )
        save_quantized(ctx, "dynamic")
