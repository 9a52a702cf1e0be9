"""check.parity: whether a model still computes what the PyTorch model does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, StageError
from edgepipe_stages import Dataset, ImageDataset, Model, Split, TorchModel

if TYPE_CHECKING:
    from edgepipe_stages._parity.divergence import Comparison, Layer
    from edgepipe_stages._runtime import Runtime


class Parity(Stage):
    """Compare a converted or quantized model with the PyTorch model that it was made from.

    Fails when they are too far apart, and names the first layer that diverges: layers are
    compared one by one in ONNX and TFLite models.
    """

    inputs = {"reference": TorchModel, "model": Model, "data": ImageDataset}
    outputs = {"report": Metrics}
    requires = ("torch", "onnxruntime", "ai-edge-litert", "tensorflow")
    metrics = {
        "max_abs_diff": Metric("number", "largest difference of a score"),
        "mean_abs_diff": Metric("number", "mean difference of a score"),
        "relative_error": Metric(
            "fraction", "largest difference, as a share of the reference's largest score"
        ),
        "sqnr_db": Metric("number", "signal to quantization noise of the scores, in decibels"),
        "top1_agreement": Metric("fraction", "of images that both put into the same class"),
        "accuracy_reference": Metric("fraction", "of the PyTorch model on the same images"),
        "accuracy": Metric("fraction", "of the model, on the images compared"),
        "accuracy_drop": Metric("fraction", "accuracy_reference - accuracy"),
        "samples": Metric("count", "images compared"),
    }

    samples: int = Field(
        500, ge=1, description="images of the test split to compare, of each class by its share"
    )
    tolerance: Literal["auto", "float32", "float16", "dynamic", "int8"] = Field(
        "auto", description="whose bounds hold where none is given; auto: the model's precision"
    )
    max_abs_diff: float | None = Field(None, ge=0, description="of a score; default: no bound")
    max_relative_error: float | None = Field(
        None, ge=0, description="largest difference / largest score; default: by tolerance"
    )
    min_sqnr_db: float | None = Field(None, description="of the scores; default: by tolerance")
    min_top1_agreement: float | None = Field(
        None, ge=0, le=1, description="share of images of the same class; default: by tolerance"
    )
    max_accuracy_drop: float | None = Field(
        None, ge=-1, le=1, description="against the PyTorch model; default: by tolerance"
    )

    def run(self, ctx: Context) -> None:
        from dataclasses import asdict

        from edgepipe_stages._agreement import (
            check_classes,
            check_finite,
            check_scores,
            count_not_finite,
        )
        from edgepipe_stages._calibration import stratified
        from edgepipe_stages._parity.bounds import Bounds, violations
        from edgepipe_stages._parity.distance import distance
        from edgepipe_stages._runtime import runtime_of, scores

        data: Dataset = ctx.input("data")
        chosen = stratified(data.test.labels, self.samples, ctx.seed)
        split = Split(data.test.images[chosen], data.test.labels[chosen])
        paths: list[Path] = [ctx.input("reference"), ctx.input("model")]
        for path in paths:
            check_classes(Model.interface(path), data.interface)
        runtimes = [runtime_of(path)(path, ctx.threads, ctx.user_object) for path in paths]
        reference, own = (
            scores(runtime, path, split.images)
            for runtime, path in zip(runtimes, paths, strict=True)
        )
        if reference.shape != own.shape:
            raise StageError(
                f"the PyTorch model gives {reference.shape[1]} scores an image, the model"
                f" {own.shape[1]}",
                "connect the model that was made from this reference",
            )
        check_scores(own, data.interface)
        check_finite(count_not_finite(reference), len(split), "the PyTorch model")
        found = distance(reference, own, split.labels)
        precision = self._precision(paths[1])
        bounds = Bounds(
            self.max_abs_diff,
            self.max_relative_error,
            self.min_sqnr_db,
            self.min_top1_agreement,
            self.max_accuracy_drop,
        )
        wrong = violations(found, bounds, precision, len(split))
        if bad := count_not_finite(own):
            wrong.insert(0, f"scores that are no finite numbers for {bad}")
        compared = _layers(runtimes, paths, split, precision)
        for layer in compared.layers if compared else []:
            ctx.log(_row(layer))
        if wrong:
            raise self._failure(wrong, paths[1], len(split), precision, compared)
        numbers = asdict(found) | {"accuracy_drop": found.accuracy_drop, "samples": len(split)}
        rows = [layer.as_json() for layer in compared.layers] if compared else []
        ctx.save("report", {**numbers, "tolerance": precision, "layers": rows})

    def _precision(self, model: Path) -> str:
        from edgepipe_stages._parity.bounds import BY_PRECISION

        if self.tolerance != "auto":
            return self.tolerance
        said = Model.describe(model).get("precision", "float32")
        if said not in BY_PRECISION:
            raise StageError(
                f"no bounds are known for the model's precision '{said}'",
                f"set 'tolerance' to one of {', '.join(BY_PRECISION)}",
            )
        return str(said)

    def _failure(
        self,
        wrong: list[str],
        model: Path,
        images: int,
        precision: str,
        compared: Comparison | None,
    ) -> StageError:
        from edgepipe_stages._parity.saturation import saturates

        message = (
            f"the model is not the PyTorch model any more: {', '.join(wrong)}, on {images} images"
        )
        hint = "each layer is in the node's log"
        if compared is None:
            hint = "check the ONNX or the TFLite model to see which layer diverges first"
        elif not compared.layers:
            hint = "none of its layers could be paired with the PyTorch model's"
        elif compared.first:
            message += f"; {compared.first}"
        else:
            lowest = min(compared.layers, key=lambda layer: _level(layer.output_db))
            message += (
                "; no single layer stands out: the error grows from layer to layer, and is"
                f" largest at '{lowest.path}', {lowest.operator} ({_level(lowest.output_db):.0f} dB)"
            )
            hint = _GRADUAL.get(precision, hint)
        if saturates(model):
            hint = f"{_SATURATES}\n{hint}"
        return StageError(message, hint)


_SATURATES = (
    "this processor has no VNNI and cuts off sums of 8-bit weights: set reduce_range: true where the"
    " model is quantized"
)

_GRADUAL = {
    "int8": "give it more calibration samples, per-channel weights, another calibration method, or"
    " an architecture without hard-swish; each layer is in the node's log",
}


def _layers(
    runtimes: list[Runtime], paths: list[Path], split: Split, precision: str
) -> Comparison | None:
    """Compare the layers of ONNX and TFLite models; None for others."""
    from edgepipe_stages._parity.divergence import compare
    from edgepipe_stages._parity.trace import trace
    from edgepipe_stages._runtime import Inspectable
    from edgepipe_stages._runtime.pytorch import PyTorch

    reference, own = runtimes
    if not isinstance(own, Inspectable):
        return None
    assert isinstance(reference, PyTorch)
    first, second = (Model.interface(path) for path in paths)
    # All activations of all layers are kept at once: some 0.5 GB for a few large images.
    images = split.images[: max(2, min(16, 200_000 // (first.height * first.width)))]
    original = trace(reference.module, first.normalize(images))
    return compare(original, own, second.normalize(images), precision)


def _level(db: float | None) -> float:
    return float("inf") if db is None else db


def _row(layer: Layer) -> str:
    entering, leaving = (
        "  –" if db is None else f"{db:3.0f}" for db in (layer.input_db, layer.output_db)
    )
    return f"in {entering} dB, out {leaving} dB, {layer.path} = {layer.operator}"
