"""convert.onnx: a torch model as an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepipe.stage import Context, Field, Stage, StageError
from edgepipe_stages import OnnxModel, TorchModel

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from edgepipe_stages import Interface

_MOST_ERROR = 1e-3
"""The order of sums alone moves float32 by 1e-6."""


class ConvertOnnx(Stage):
    """Export a torch model to ONNX, with batch normalization folded into convolutions.

    The input is ``image``, normalized, N × C × H × W; the output is ``scores``, N × classes. Both
    models are run on a few images of noise, and a difference is a warning.
    """

    inputs = {"model": TorchModel}
    outputs = {"model": OnnxModel}
    requires = ("torch", "onnx", "onnxruntime")
    seeded = False

    opset_version: int = Field(
        14,
        ge=11,
        le=20,
        description="version of ONNX's operators; convert.savedmodel reads 11 to 17 safely",
    )
    dynamic_batch: bool = Field(
        True, description="leave the number of images open; otherwise it is 1"
    )

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._onnx_export import export_onnx
        from edgepipe_stages._torch_model import load_model

        path = ctx.input("model")
        interface = TorchModel.interface(path)
        module = load_model(path, ctx.user_object)
        model = export_onnx(module, interface, self.opset_version, self.dynamic_batch)
        self._compare(ctx, module, model, interface)
        output = ctx.output("model")
        (output / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        ctx.save("model", {"interface": interface.as_json(), "opset_version": self.opset_version})
        ctx.log(f"{len(model.graph.node)} ONNX nodes")

    def _compare(
        self, ctx: Context, module: nn.Module, model: ModelProto, interface: Interface
    ) -> None:
        """Warn where torch's exporter left something out: it says nothing itself."""
        from edgepipe_stages._onnx_compare import relative_error

        try:
            error = relative_error(module, model, interface, ctx.threads)
        except StageError as problem:
            ctx.warn(f"not compared with the PyTorch model: {problem}")
            return
        if not error <= _MOST_ERROR:
            ctx.warn(
                f"the ONNX model is not the PyTorch model: on noise, scores differ by {error:.1%}"
                " of the largest; check.parity finds the layer"
            )
