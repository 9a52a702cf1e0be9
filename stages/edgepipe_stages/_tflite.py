"""Converts a SavedModel to TensorFlow Lite, and reads what came out."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgepipe.stage import StageError
from edgepipe_stages._tensorflow import import_tensorflow

Precision = Literal["float32", "float16", "dynamic", "int8"]

_OPERATORS = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}


@dataclass(frozen=True)
class Quantization:
    """``real = scale * (quantized - zero_point)``."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Summary:
    """What a TFLite file holds."""

    operators: Counter[str]
    """How often each operator occurs, by its name in TensorFlow Lite's schema."""
    float_tensors: list[str]
    """Names of the tensors of type float32."""
    input: Quantization | None
    output: Quantization | None


def convert_tflite(
    saved_model: Path,
    precision: Precision,
    samples: NDArray[np.float32] | None = None,
    per_channel: bool = True,
) -> bytes:
    """A SavedModel of one input as a TFLite flatbuffer.

    Args:
        saved_model: the folder with ``saved_model.pb``.
        precision: float32; float16: weights are stored in half precision; dynamic: weights are
            int8, activations are quantized while running; int8: all of it, input and output too.
        samples: N × the input's shape; int8 takes the ranges of activations from them.
        per_channel: one scale for each output channel of a convolution, in int8.

    Raises:
        StageError: an operator that TensorFlow Lite does not have.
    """
    tf = import_tensorflow()
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        assert samples is not None
        name = _input_name(tf, saved_model)
        # By name: TensorFlow orders lists in its own way.
        converter.representative_dataset = lambda: ({name: image[None]} for image in samples)
        # The second set lets an operator without an int8 kernel stay in float: it is reported.
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        converter._experimental_disable_per_channel = not per_channel
    try:
        with warnings.catch_warnings():
            # TensorFlow's own calibrator runs the interpreter that TensorFlow is to lose.
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
            return bytes(converter.convert())
    except Exception as error:
        raise _unsupported(str(error)) from error


def summarize(model: bytes) -> Summary:
    """Read a TFLite flatbuffer."""
    parsed = schema.ModelT.InitFromPackedBuf(model, 0)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in parsed.operatorCodes]
    operators: Counter[str] = Counter()
    floats: list[str] = []
    for graph in parsed.subgraphs:
        operators.update(_OPERATORS[codes[operator.opcodeIndex]] for operator in graph.operators)
        floats += [t.name.decode() for t in graph.tensors if t.type == schema.TensorType.FLOAT32]
    main = parsed.subgraphs[0]
    return Summary(
        operators=operators,
        float_tensors=floats,
        input=_quantization(main.tensors[main.inputs[0]]),
        output=_quantization(main.tensors[main.outputs[0]]),
    )


def _quantization(tensor: Any) -> Quantization | None:
    found = tensor.quantization
    if found is None or found.scale is None or not len(found.scale):
        return None
    return Quantization(float(found.scale[0]), int(found.zeroPoint[0]))


def _input_name(tf: Any, saved_model: Path) -> str:
    signature = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    return str(name)


def _unsupported(message: str) -> StageError:
    operators = sorted(set(re.findall(r"^\s*(?:tf\.|Flex)(\w+)\(", message, re.MULTILINE)))
    named = re.findall(r"(?:TF Select ops|Flex ops|Custom ops): ([\w, ]+)", message)
    operators = operators or sorted({name for group in named for name in group.split(", ")})
    layers = sorted(set(re.findall(r'loc\((?:fused\["[^"]*", )?"([^"@]+)', message)))
    where = f", in {', '.join(layers[:5])}" if layers else ""
    if not operators:
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        return StageError(
            f"TensorFlow's converter failed: {lines[0] if lines else 'without a message'}",
            "\n".join(lines[1:6]),
        )
    return StageError(
        f"TensorFlow Lite has no operator {', '.join(operators)}{where}",
        "write that layer with convolutions, pooling, arithmetic or matrix products",
    )
