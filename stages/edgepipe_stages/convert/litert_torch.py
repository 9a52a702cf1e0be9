"""convert.litert_torch: a torch model as a TensorFlow Lite model, without ONNX on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from edgepipe.stage import Context, Field, Metrics, Stage, optional
from edgepipe_stages import Calibration, TFLiteModel, TorchModel
from edgepipe_stages._tflite_model import METRICS, calibration_images, write_model


class ConvertLiteRTTorch(Stage):
    """Convert a torch model to TensorFlow Lite directly, by litert-torch.

    It takes recurrent networks and attention, which the way over ONNX does not; it does not take
    transposed convolutions. Models of timm and torchvision go over ONNX: those packages are not
    in its environment. dynamic stores weights in int8 and quantizes activations while running;
    int8 is int8 throughout, by ai-edge-quantizer, with one scale for each output channel.
    """

    inputs = {"model": TorchModel, "calibration": optional(Calibration)}
    outputs = {"model": TFLiteModel, "report": Metrics}
    requires = ("torch", "litert-torch", "litert-converter", "ai-edge-quantizer")
    environment = "litert_torch"
    seeded = False
    metrics = METRICS

    precision: Literal["float32", "dynamic", "int8"] = Field(
        "float32", description="of weights and activations; int8 needs the input calibration"
    )
    input_layout: Literal["nhwc", "nchw"] = Field(
        "nhwc",
        description="of the input: nhwc is how cameras give images; nchw is how torch has it",
    )
    min_samples: int = Field(
        10, ge=1, le=100_000, description="fewer calibration images than this are an error"
    )

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        if self.precision == "int8" and "calibration" not in connected:
            yield (
                "precision",
                "int8 needs images to find the ranges of activations, and the input 'calibration'"
                " is not connected",
                "connect the output 'calibration' of a quantize.static node, or choose dynamic",
            )

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._litert_torch import convert_module
        from edgepipe_stages._torch_model import load_model

        path = ctx.input("model")
        interface = replace(TorchModel.interface(path), layout=self.input_layout)
        samples = None
        if self.precision == "int8":
            samples = calibration_images(ctx, interface, self.min_samples)
        module = load_model(path, ctx.user_object)
        model = convert_module(module, interface, self.precision, samples, ctx.threads)
        write_model(ctx, model, interface, self.precision)
