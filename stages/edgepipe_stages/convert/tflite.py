"""convert.tflite: a SavedModel as a TensorFlow Lite model, in one of four precisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, StageError, optional
from edgepipe_stages import Calibration, SavedModel, TFLiteModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgepipe_stages import Interface
    from edgepipe_stages._tflite import Summary


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
    metrics = {
        "size_bytes": Metric("bytes", "of model.tflite"),
        "operators": Metric("count", "operators in the graph"),
        "transposes": Metric("count", "TRANSPOSE operators: data moved from one layout to another"),
        "float_tensors": Metric("count", "tensors of type float32; 0 in a full int8 model"),
    }

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
        from edgepipe_stages._tflite import convert_tflite, summarize

        path = ctx.input("model")
        interface = SavedModel.interface(path)
        samples = self._samples(ctx, interface) if self.precision == "int8" else None
        model = convert_tflite(path / "saved_model", self.precision, samples, self.per_channel)
        summary = summarize(model)
        (ctx.output("model") / "model.tflite").write_bytes(model)
        ctx.save("model", self._description(interface, summary))
        ctx.save(
            "report",
            {
                "size_bytes": len(model),
                "operators": summary.operators.total(),
                "transposes": summary.operators["TRANSPOSE"],
                "float_tensors": len(summary.float_tensors),
                "operator_counts": dict(summary.operators),
            },
        )
        if self.precision == "int8" and summary.float_tensors:
            names = summary.float_tensors
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            ctx.warn(
                "the int8 model computes in float where TensorFlow Lite has no int8 kernel:"
                f" {', '.join(names[:5])}{more}"
            )

    def _samples(self, ctx: Context, interface: Interface) -> NDArray[np.float32]:
        if ctx.path("calibration") is None:
            raise StageError("int8 needs the input 'calibration'", "connect it, or choose float16")
        split, _ = ctx.input("calibration")
        if len(split) < self.min_samples:
            raise StageError(
                f"the calibration set has {len(split)} images, and int8 needs at least"
                f" {self.min_samples} to find the ranges of activations",
                "give it more images (100 to 500 are usual), or lower min_samples",
            )
        seen = set(split.labels.tolist())
        absent = [name for i, name in enumerate(interface.classes) if i not in seen]
        if absent:
            ctx.warn(
                "the calibration set shows no image of the class"
                f"{'es' if len(absent) > 1 else ''} {', '.join(absent[:10])}: activations that only"
                " they cause may be cut off"
            )
        return interface.normalize(split.images)

    def _description(self, interface: Interface, summary: Summary) -> dict[str, Any]:
        description: dict[str, Any] = {
            "interface": interface.as_json(),
            "precision": self.precision,
        }
        if self.precision == "int8" and summary.input and summary.output:
            for port, rule in (("input", summary.input), ("output", summary.output)):
                description[f"{port}_quantization"] = {
                    "scale": rule.scale,
                    "zero_point": rule.zero_point,
                }
        return description
