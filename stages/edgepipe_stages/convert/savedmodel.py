"""convert.savedmodel: an ONNX model as a TensorFlow SavedModel."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from edgepipe.stage import Context, Field, Stage
from edgepipe_stages import OnnxModel, SavedModel


class ConvertSavedModel(Stage):
    """Convert an ONNX model to a TensorFlow SavedModel for one image, by onnx-tf.

    Activations keep their channels last, so that TensorFlow Lite needs next to no transposes.
    """

    inputs = {"model": OnnxModel}
    outputs = {"model": SavedModel}
    requires = ("tensorflow", "onnx-tf", "onnx")
    seeded = False

    input_layout: Literal["nhwc", "nchw"] = Field(
        "nhwc",
        description="of the input: nhwc is how cameras give images, and needs no transpose; nchw"
        " is how torch has it",
    )

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._tensorflow import import_tensorflow

        import_tensorflow()
        import onnx

        from edgepipe_stages._onnx_tf.convert import write_saved_model

        path = ctx.input("model")
        model = onnx.load(path / "model.onnx")
        write_saved_model(model, ctx.output("model") / "saved_model", self.input_layout)
        interface = replace(OnnxModel.interface(path), layout=self.input_layout)
        ctx.save("model", {"interface": interface.as_json()})
