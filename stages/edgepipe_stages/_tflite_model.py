"""What the converters to TensorFlow Lite share: calibration images, the report, the description."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.stage import Context, Metric, StageError
from edgepipe_stages import TFLiteModel
from edgepipe_stages._agreement import check_classes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgepipe_stages import Interface

METRICS = {
    "size_bytes": Metric("bytes", "of model.tflite"),
    "operators": Metric("count", "operators in the graph"),
    "transposes": Metric("count", "TRANSPOSE operators: data moved from one layout to another"),
    "float_tensors": Metric("count", "tensors of type float32; 0 in a full int8 model"),
}


def calibration_images(ctx: Context, interface: Interface, least: int) -> NDArray[np.float32]:
    """The images of the input ``calibration``, as the model takes them.

    Args:
        ctx: of a stage with that input.
        interface: the model's.
        least: fewer images than this are an error.

    Raises:
        StageError: the input is not connected, has too few images, or other classes.
    """
    if ctx.path("calibration") is None:
        raise StageError("int8 needs the input 'calibration'", "connect it, or choose float32")
    split, images = ctx.input("calibration")
    check_classes(interface, images)
    if len(split) < least:
        raise StageError(
            f"the calibration set has {len(split)} images, and int8 needs at least"
            f" {least} to find the ranges of activations",
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


def write_model(ctx: Context, model: bytes, interface: Interface, precision: str) -> None:
    """Write the outputs ``model`` and ``report``, and warn of floats in an int8 model."""
    from edgepipe_stages._tflite import summarize

    summary = summarize(model)
    output: Path = ctx.output("model")
    (output / "model.tflite").write_bytes(model)
    description: dict[str, Any] = {"interface": interface.as_json(), "precision": precision}
    if precision == "int8" and summary.input and summary.output:
        for port, rule in (("input", summary.input), ("output", summary.output)):
            description[f"{port}_quantization"] = {
                "scale": rule.scale,
                "zero_point": rule.zero_point,
            }
    TFLiteModel.save(output, description)
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
    if precision == "int8" and summary.float_tensors:
        names = summary.float_tensors
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        ctx.warn(
            "the int8 model computes in float where TensorFlow Lite has no int8 kernel:"
            f" {', '.join(names[:5])}{more}"
        )
