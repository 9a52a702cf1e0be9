"""Runs a TFLite model on float images, whatever its input and output types are."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray


def run_tflite(model: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """N × the input's shape in, N × the output's shape out; integers are quantized and back."""
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    [source], [target] = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for image in images:
        interpreter.set_tensor(source["index"], _quantized(image[None], source))
        interpreter.invoke()
        results.append(_real(interpreter.get_tensor(target["index"])[0], target))
    return np.stack(results)


def _quantized(values: NDArray[np.float32], details: dict[str, Any]) -> NDArray[Any]:
    if details["dtype"] == np.float32:
        return values
    scale, zero_point = details["quantization"]
    return np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)


def _real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    if details["dtype"] == np.float32:
        return values
    scale, zero_point = details["quantization"]
    return (values.astype(np.float32) - zero_point) * scale
