"""convert.tflite: a SavedModel as a TensorFlow Lite model, in one of four precisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from edgepipe.stage import Context, Field, Metrics, Stage, optional
from edgepipe_stages import Calibration, SavedModel, TFLiteModel
from edgepipe_stages._tflite_model import METRICS, calibration_images, write_model


class ConvertTFLite(Stage):
    """Convert a SavedModel to TensorFlow Lite, quantizing it after training where asked to.

    float16 stores the weights in half precision. dynamic stores them in int8 and quantizes
    activations while running. int8 is int8 throughout, input and output too: it takes the ranges
    of activations from the calibration images (Jacob et al., 2018).
    """

    inputs = {"model": SavedModel, "calibration": optional(Calibration)}
    outputs = {"model": TFLiteModel, "report": Metrics}
    requires = ("tensorflow", "ai-edge-litert")
    seeded = False
    metrics = METRICS

    precision: Literal["float32", "float16", "dynamic", "int8"] = Field(
        "float32", description="of weights and activations; int8 needs the input calibration"
    )
    per_channel: bool = Field(
        True,
        description="in int8, one scale for each output channel of a convolution; otherwise one a"
        " tensor",
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
                "connect the output 'calibration' of a quantize.static node, or choose float16 or dynamic",
            )

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._tflite import convert_tflite

        path = ctx.input("model")
        interface = SavedModel.interface(path)
        samples = None
        if self.precision == "int8":
            samples = calibration_images(ctx, interface, self.min_samples)
        model = convert_tflite(path / "saved_model", self.precision, samples, self.per_channel)
        write_model(ctx, model, interface, self.precision)
