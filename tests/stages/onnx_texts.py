"""ONNX files from their text form, with weights from a fixed seed, and their work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgepipe_stages._runtime.onnx_runtime import OnnxRuntime
from edgepipe_stages._work import Work


def save_text(
    folder: Path,
    body: str,
    weights: Mapping[str, NDArray[Any]],
    shape: str = "1,4",
    *,
    functions: str = "",
    inner: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    opset: int = 21,
) -> Path:
    """Save ``model.onnx``: from ``float x`` of this shape to ``y``, by the nodes of ``body``.

    Args:
        folder: where to.
        body: nodes in ONNX's text form.
        weights: initializers of the main graph.
        shape: of ``x``.
        functions: the file's own, in text form.
        inner: initializers of the graphs inside of operators; each goes to the one that uses it.
        opset: of ONNX's own operators.

    Returns:
        the folder.
    """
    opsets = f'"": {opset}, "com.microsoft": 1, "own": 1'
    header = f"<ir_version: 10, opset_import: [{opsets}]>"
    text = f"{header} main (float[{shape}] x) => (float y) {{ {body} }} {functions}"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in weights.items())
    for graph in [a.g for node in model.graph.node for a in node.attribute if a.HasField("g")]:
        used = {name for node in graph.node for name in node.input} & inner.keys()
        graph.initializer.extend(numpy_helper.from_array(inner[name], name) for name in used)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return folder


def floats(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def small(*shape: int, dtype: type[np.generic] = np.int8) -> NDArray[Any]:
    """Integers of 8 bits."""
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def scale(*shape: int) -> NDArray[np.float32]:
    return np.full(shape, 0.1, np.float32)


def zero(*shape: int, dtype: type[np.generic] = np.int8) -> NDArray[Any]:
    return np.zeros(shape, dtype)


def work(folder: Path) -> Work:
    return OnnxRuntime(folder, 1, str).work()
