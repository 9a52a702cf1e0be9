"""convert.onnx: a torch model as an ONNX model."""

from __future__ import annotations

from edgepipe.stage import Context, Field, Stage
from edgepipe_stages import OnnxModel, TorchModel


class ConvertOnnx(Stage):
    """Export a torch model to ONNX, with batch normalization folded into convolutions.

    The input is ``image``, normalized, N × C × H × W; the output is ``scores``, N × classes.
    """

    inputs = {"model": TorchModel}
    outputs = {"model": OnnxModel}
    requires = ("torch", "onnx")
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
        output = ctx.output("model")
        (output / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
        ctx.save("model", {"interface": interface.as_json(), "opset_version": self.opset_version})
        ctx.log(f"{len(model.graph.node)} ONNX nodes")
