"""Exports a torch module to ONNX."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.nn.modules.batchnorm import _BatchNorm

from edgepipe.stage import StageError
from edgepipe_stages import Interface

INPUT = "image"
OUTPUT = "scores"


def export_onnx(
    module: nn.Module, interface: Interface, opset_version: int, dynamic_batch: bool
) -> onnx.ModelProto:
    """The module in evaluation mode, batch normalization folded into convolutions.

    The input is ``image``, N × C × H × W, the output ``scores``, N × classes; N is open with
    ``dynamic_batch`` and 1 without. Equal modules give equal bytes, which hold no path, no
    source line and no time.

    Raises:
        StageError: names the torch operators that ONNX has no counterpart for, and the modules
            that call them, or the layer that normalizes by its batch; or the module fails on an
            image of zeros, or does not give one score a class.
    """
    module = module.eval()
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and part.running_mean is None:
            raise StageError(
                f"'{name}' normalizes by the statistics of each batch, which ONNX cannot",
                "make it with track_running_stats=True, which is the default, or normalize each"
                " image by itself, with GroupNorm",
            )
    image = torch.zeros(interface.shape)
    _run(module, image, interface)
    model = to_onnx(module, image, opset_version, dynamic_batch)
    onnx.checker.check_model(model, full_check=True)
    return model


def to_onnx(
    module: nn.Module, image: Tensor, opset_version: int, dynamic_batch: bool
) -> onnx.ModelProto:
    """`export_onnx` of a module with any one output, without a check of what it computes."""
    buffer = io.BytesIO()
    axes = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}} if dynamic_batch else None
    try:
        with warnings.catch_warnings():
            # onnx-tf reads what the exporter by torch.jit.trace writes; the new one emits opset 18
            # and later. It says that it is deprecated, as do parts of itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            # A shape that the trace fixes is right: a pipeline's models have one image size.
            warnings.simplefilter("ignore", TracerWarning)
            # Remarks on its own constant folding and on recurrent layers with an open batch.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\.onnx\.")
            torch.onnx.export(
                module,
                (image,),
                buffer,  # type: ignore[arg-type]  # the exporter by trace takes a file, too
                dynamo=False,
                opset_version=opset_version,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes=axes,
            )
    except Exception as error:  # the exporter's own assertions fail, too
        raise _unsupported(module, image, error, opset_version, dynamic_batch) from error
    model = onnx.load_from_string(buffer.getvalue())
    for node in model.graph.node:
        node.doc_string = ""
    model.graph.doc_string = model.doc_string = ""
    return model


def _run(module: nn.Module, image: Tensor, interface: Interface) -> None:
    try:
        with torch.no_grad():
            scores = module(image)
    except Exception as error:
        shape = " × ".join(map(str, image.shape))
        raise StageError(
            f"the model fails on an image of {shape}: {type(error).__name__}: {error}",
            "look at its forward()",
        ) from error
    expected = (1, len(interface.classes))
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise StageError(
            f"the model gives {got} for one image, not one score a class: {expected}",
            "make forward() return a tensor N × classes",
        )


def _unsupported(
    module: nn.Module, image: Tensor, error: Exception, opset_version: int, dynamic_batch: bool
) -> StageError:
    found = re.search(r"operator '([\w:]+)'", str(error))
    if not found:
        reason = re.split(r"\.* Please feel free|\s*\[Caused by|\n", str(error).strip())[0]
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        return StageError(
            f"torch cannot export the model to ONNX: {kind}{reason}",
            "set dynamic_batch: false, which makes every size a constant"
            if dynamic_batch and _works_fixed(module, image, opset_version)
            else "write the operator that it names in another way; adaptive pooling has to divide"
            " its input into equal parts",
        )
    operator = found[1]
    places = (
        ", ".join(dict.fromkeys(_callers(module, image, operator))) or "a function of the model"
    )
    newer = re.search(r"added in version (\d+)", str(error))
    hint = (
        f"set opset_version: {newer[1]}, which has it, if nothing after this stage minds"
        if newer
        else "write it with operators that ONNX has, or put a layer of your own in its place"
    )
    return StageError(
        f"ONNX (opset {opset_version}) has no counterpart for the operator {operator}, called in"
        f" {places}",
        hint,
    )


def _works_fixed(module: nn.Module, image: Tensor, opset_version: int) -> bool:
    try:
        to_onnx(module, image, opset_version, dynamic_batch=False)
    except StageError:
        return False
    return True


def _callers(module: nn.Module, image: Tensor, operator: str) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = torch.jit.trace(module, image, check_trace=False, strict=False).inlined_graph  # type: ignore[no-untyped-call]
    for node in graph.nodes():
        if node.kind() == operator:
            scope = node.scopeName().rpartition("/")[2].removeprefix("__module.")
            yield scope if "." in node.scopeName() else "the model's forward()"
