"""Converted models with one weight or bias changed where it lies in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from onnx import numpy_helper

from edgepipe_stages import OnnxModel, TFLiteModel
from edgepipe_stages._graph import Op

Change = Callable[[NDArray[Any]], NDArray[Any]]


def shuffled(values: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(1).permutation(values.reshape(-1)).reshape(values.shape)


def damage_onnx(source: Path, target: Path, op: Op, operand: int, change: Change) -> Path:
    """Change a weight (operand 1) or a bias (2), behind a DequantizeLinear if there is one."""
    model = onnx.load(source / "model.onnx")
    behind = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    [node] = [node for node in model.graph.node if node.name == op.name]
    name = behind.get(node.input[operand], node.input[operand])
    [tensor] = [tensor for tensor in model.graph.initializer if tensor.name == name]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values).astype(values.dtype), name))
    target.mkdir()
    onnx.save(model, target / "model.onnx")
    OnnxModel.save(target, OnnxModel.describe(source))
    return target


def damage_tflite(source: Path, target: Path, op: Op, operand: int, change: Change) -> Path:
    """Change a weight or a bias where it lies in the file."""
    content = bytearray((source / "model.tflite").read_bytes())
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    tensor = graph.Operators(int(op.name.split(":")[0])).Inputs(operand)
    for i in range(graph.OperatorsLength()):
        before = graph.Operators(i)
        if before.Outputs(0) == tensor:
            tensor = before.Inputs(0)
    entry = graph.Tensors(tensor)
    buffer = model.Buffers(entry.Buffer())
    dtypes = {0: np.float32, 1: np.float16, 2: np.int32, 9: np.int8}
    values = buffer.DataAsNumpy().view(dtypes[entry.Type()])
    changed = change(values.copy()).astype(values.dtype).tobytes()
    start = buffer._tab.Vector(buffer._tab.Offset(4))
    content[start : start + len(changed)] = changed
    target.mkdir()
    (target / "model.tflite").write_bytes(content)
    TFLiteModel.save(target, TFLiteModel.describe(source))
    return target


def damage(source: Path, target: Path, op: Op, operand: int, change: Change) -> Path:
    write = damage_onnx if (source / "model.onnx").is_file() else damage_tflite
    return write(source, target, op, operand, change)
