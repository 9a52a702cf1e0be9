"""Converts a torch module to TensorFlow Lite by litert-torch, and quantizes it.

See https://github.com/google-ai-edge/litert-torch and
https://github.com/google-ai-edge/ai-edge-quantizer. Both live in the environment
``litert_torch``, so nothing here is imported by anything else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface

Precision = Literal["float32", "dynamic", "int8"]


def convert_module(
    module: nn.Module,
    interface: Interface,
    precision: Precision,
    samples: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> bytes:
    """A torch module as a TFLite flatbuffer for one image.

    Args:
        module: in evaluation mode; takes N × C × H × W.
        interface: of the result: ``nhwc`` moves the channels of the input last.
        precision: float32; dynamic: weights are int8, activations are quantized while running;
            int8: all of it, input and output too.
        samples: N × the input's shape; int8 takes the ranges of activations from them.
        threads: for finding the ranges.

    Raises:
        StageError: the module cannot be exported, or has an operator that litert-torch lacks.
    """
    # litert-torch uses jax for lowering alone: it needs no accelerator.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import litert_torch

    wrapped = module.eval()
    if interface.layout == "nhwc":
        wrapped = litert_torch.to_channel_last_io(wrapped, args=[0])
    try:
        with torch.no_grad(), _without_places(module):
            model = litert_torch.convert(wrapped, (torch.zeros(interface.shape),))
    except Exception as error:
        raise _unsupported(error) from error
    content = inlined(bytes(model.model_content()))
    if precision == "float32":
        return content
    return inlined(_quantized(content, precision, samples, threads))


@contextmanager
def _without_places(module: nn.Module) -> Iterator[None]:
    """Tensors are named after the modules of classes, and those of the user's files after a path."""
    classes = {type(part) for part in module.modules()}
    moved = {c: c.__module__ for c in classes if c.__module__.startswith("edgepipe_user_")}
    for found in moved:
        found.__module__ = "user"
    try:
        yield
    finally:
        for found, name in moved.items():
            found.__module__ = name


def _quantized(
    content: bytes, precision: Precision, samples: NDArray[np.float32] | None, threads: int
) -> bytes:
    from ai_edge_quantizer import quantizer, recipe

    chosen = recipe.static_wi8_ai8() if precision == "int8" else recipe.dynamic_wi8_afp32()
    worker = quantizer.Quantizer(bytearray(content), chosen)
    ranges: Any = None
    if precision == "int8":
        assert samples is not None
        key, name = _signature(content)
        ranges = worker.calibrate(
            {key: [{name: sample[None]} for sample in samples]}, num_threads=threads
        )
    return bytes(worker.quantize(ranges, enable_progress_report=False).quantized_model)


def _signature(content: bytes) -> tuple[str, str]:
    """The names of the only signature, and of its only input."""
    (found,) = schema.ModelT.InitFromPackedBuf(content, 0).signatureDefs
    (given,) = found.inputs
    return found.signatureKey.decode(), given.name.decode()


def inlined(content: bytes) -> bytes:
    """A flatbuffer whose weights are inside it, not appended behind.

    TensorFlow Lite Micro reads appended ones as if they were empty, and says nothing.
    """
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    appended = [buffer for buffer in model.buffers if buffer.offset > 1]
    if not appended:
        return content
    for buffer in appended:
        part = content[buffer.offset : buffer.offset + buffer.size]
        buffer.data = np.frombuffer(part, np.uint8)
        buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _unsupported(error: Exception) -> StageError:
    message = str(error)
    operators = sorted(set(re.findall(r"\b(?:aten|prims|torchvision)[.:]+[\w.]+", message)))
    if operators:
        return StageError(
            f"litert-torch has no counterpart for {', '.join(operators[:5])}",
            "write that layer with other operators, or go by convert.onnx, convert.savedmodel"
            " and convert.tflite",
        )
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return StageError(
        f"litert-torch failed: {type(error).__name__}: {lines[0] if lines else 'no message'}",
        "\n".join(lines[1:5]),
    )
