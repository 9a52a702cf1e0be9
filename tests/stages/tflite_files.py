"""TFLite files: converted by TensorFlow, or of single operators that no converter writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Builder

from edgepipe_stages._tensorflow import import_tensorflow

Shape = tuple[int, ...]


def convert(
    path: Path, function: Callable[[Any], Any], shape: Sequence[int | None], *, flex: bool = False
) -> Path:
    """A function of one tensor of floats; with TensorFlow's own operators if ``flex``."""
    tf = import_tensorflow()
    traced = tf.function(function).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    if flex:
        sets = tf.lite.OpsSet
        converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS, sets.SELECT_TF_OPS]
    path.write_bytes(converter.convert())
    return path


def convert_layer(path: Path, layer: Any, shape: Shape) -> Path:
    """A Keras layer, for which converters have patterns; its biases are random, not zeros."""
    tf = import_tensorflow()
    model = tf.keras.Sequential([tf.keras.Input(shape[1:], batch_size=shape[0]), layer])
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


def save_operator(
    path: Path,
    type_: str,
    inputs: Sequence[Shape | None],
    output: Shape,
    weights: Sequence[int] = (),
    *,
    int4: bool = False,
) -> Path:
    """One operator; ``weights`` says which of its inputs are constants."""
    buffers = [schema.BufferT()]
    tensors = []
    places = []
    for number, shape in enumerate([*inputs, output]):
        if shape is None:
            places.append(-1)
            continue
        places.append(len(tensors))
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{number}", list(shape), 0
        if number in weights:
            buffer = schema.BufferT()
            values = np.ones(shape, np.float32)
            if int4:
                tensor.type = schema.TensorType.INT4
                tensor.quantization = schema.QuantizationParametersT()
                tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [0]
                # Two to a byte: 1 and -2.
                values = np.full(-(-values.size // 2), 0xE1, np.uint8)
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(buffers)
            buffers.append(buffer)
        tensors.append(tensor)
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs, operator.outputs = places[:-1], places[-1:]
    code.builtinCode = getattr(schema.BuiltinOperator, type_)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators = tensors, [operator]
    graph.inputs, graph.outputs = places[:1], places[-1:]
    model.version, model.subgraphs, model.buffers = 3, [graph], buffers
    model.operatorCodes = [code]
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path
