"""Walks through an ONNX graph and writes what it computes as a TensorFlow SavedModel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from onnx import ModelProto, NodeProto
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from edgepipe.stage import StageError
from edgepipe_stages._artifacts import Layout
from edgepipe_stages._onnx_tf import (
    compat,
    elementwise,
    linear,
    recurrent,
    reductions,
    shapes,
    spatial,
)
from edgepipe_stages._onnx_tf.fusions import fuse
from edgepipe_stages._onnx_tf.graph import (
    Graph,
    computed,
    evaluate,
    inputs_to_attributes,
    layer,
    read_graph,
    unsupported,
)
from edgepipe_stages._onnx_tf.onnx_operator import Handler, Operator, UnsupportedError
from edgepipe_stages._onnx_tf.tensors import Tensors, channels_last

HANDLERS: dict[str, Handler] = {
    **elementwise.HANDLERS,
    **linear.HANDLERS,
    **shapes.HANDLERS,
    **spatial.HANDLERS,
    **recurrent.HANDLERS,
    **reductions.HANDLERS,
}
"""Operators that are converted with their layout in mind; onnx-tf converts the others."""


def write_saved_model(model: ModelProto, folder: Path, layout: Layout) -> None:
    """Convert an ONNX model of one image input.

    The SavedModel holds one graph with its weights as constants and one signature,
    ``serving_default``, with ONNX's names for the input and the outputs. Equal models give equal
    bytes, in a fresh process and in one that has converted others before.

    Args:
        model: with an image input N × C × H × W; N becomes 1.
        folder: is made, and holds ``saved_model.pb``.
        layout: of the SavedModel's input.

    Raises:
        StageError: names the operators that cannot be converted, and their layers.
    """
    graph = fuse(read_graph(model))
    unknown = [
        (node, "")
        for node in computed(graph)
        if node.op_type not in HANDLERS and not compat.has_handler(node.op_type, graph.opset)
    ]
    if unknown:
        raise unsupported(unknown)
    definition = tf.Graph()
    with definition.as_default():
        tensors = Tensors(dict(graph.constants))
        rank = len(graph.input_shape)
        last = channels_last(rank)
        order = last if layout == "nhwc" else tuple(range(rank))
        image = tf.compat.v1.placeholder(
            tf.float32, [graph.input_shape[axis] for axis in order], name=graph.input_name
        )
        tensors.put(graph.input_name, image, order)
        for node in graph.nodes:
            try:
                _convert(node, graph, tensors)
            except UnsupportedError as error:
                raise unsupported([(node, str(error))]) from error
        outputs = {name: tf.identity(tensors[name], name=name) for name in graph.outputs}
        _write(definition, image, graph.input_name, outputs, folder)


def _convert(node: NodeProto, graph: Graph, tensors: Tensors) -> None:
    constants = tensors.constants
    inputs = [name for name in node.input if name]
    if node.op_type == "Shape":
        attributes = {a.name: a.i for a in node.attribute}
        shape = tensors.shape(inputs[0])[attributes.get("start", 0) : attributes.get("end")]
        constants[node.output[0]] = np.asarray(shape, np.int64)
        return
    if all(name in constants for name in inputs):
        values = evaluate(node, constants, graph.opset)
        if values is not None:
            constants.update(zip((name for name in node.output if name), values, strict=True))
            return
    node = inputs_to_attributes(node, constants)
    with tf.name_scope(_scope(node)):
        handler = HANDLERS.get(node.op_type, _by_onnx_tf)
        handler(Operator(node, graph, tensors))


def _by_onnx_tf(operator: Operator) -> None:
    results = operator.by_onnx_tf(operator.tensors)
    for name, result in zip(operator.outputs, results, strict=False):
        operator.tensors.put(name, tf.convert_to_tensor(result))


def _scope(node: NodeProto) -> str:
    name = re.sub(r"[^A-Za-z0-9_.\\/-]", "_", f"{layer(node)}/{node.op_type}")
    return name if name[0].isalnum() else f"layer{name}"


def _write(
    definition: tf.Graph, image: Any, input_name: str, outputs: dict[str, Any], folder: Path
) -> None:
    # tf.saved_model.save numbers its functions through the life of the process and draws a random
    # fingerprint. A graph without functions and variables needs neither, and loads the same.
    saved = SavedModel(saved_model_schema_version=1)
    meta = saved.meta_graphs.add()
    meta.CopyFrom(
        tf.compat.v1.train.export_meta_graph(
            graph=definition, clear_devices=True, strip_default_attrs=True
        )
    )
    meta.meta_info_def.tags.append("serve")
    signature = SignatureDef(method_name="tensorflow/serving/predict")
    signature.inputs[input_name].CopyFrom(_info(image))
    for name, tensor in outputs.items():
        signature.outputs[name].CopyFrom(_info(tensor))
    meta.signature_def["serving_default"].CopyFrom(signature)
    needed = [tensor.op.name for tensor in outputs.values()]
    meta.graph_def.CopyFrom(_pruned(meta.graph_def, [image.op.name, *needed]))
    if saved.ByteSize() >= 1 << 31:
        raise StageError(
            "the model has 2 GB or more, which a SavedModel's graph cannot hold",
            "deploy the ONNX model, or make it smaller",
        )
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString(deterministic=True))


def _pruned(definition: GraphDef, outputs: list[str]) -> GraphDef:
    return tf.compat.v1.graph_util.extract_sub_graph(definition, outputs)


def _info(tensor: Any) -> TensorInfo:
    return TensorInfo(
        name=tensor.name,
        dtype=tensor.dtype.as_datatype_enum,
        tensor_shape=tensor.shape.as_proto(),
    )
