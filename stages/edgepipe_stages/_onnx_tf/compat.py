"""Makes onnx-tf 1.10, archived since 2022, usable beside today's onnx and TensorFlow.

It needs four modules that are gone: ``onnx.mapping``; ``onnx.helper.mapping``, the same by
another name; tensorflow-addons, for hardmax alone, which needs the internals of Keras 2; and
tensorflow-probability, for Bernoulli alone. They are stood in for while onnx-tf is imported,
and taken away again, so that no other code of the process meets them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, defs, helper

from edgepipe_stages._tensorflow import import_tensorflow

# Their later versions only widened the element types, so an older handler is right.
_ONLY_TYPES_CHANGED = frozenset(
    [
        "Cast",
        "ConstantOfShape",
        "Equal",
        "Flatten",
        "Identity",
        "Reshape",
        "Shape",
        "Size",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
        "ArgMax",
        "ArgMin",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceProd",
        "ReduceSumSquare",
        "ScatterElements",
        "ScatterND",
        "Where",
        "Mod",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Not",
        "And",
        "Or",
        "Xor",
        "TopK",
    ]
)


@cache
def handlers() -> Mapping[str, Any]:
    """onnx-tf's handler classes, by ONNX operator."""
    import_tensorflow()
    with _stand_ins():
        importlib.import_module("onnx_tf.common.handler_helper")
        from onnx_tf.handlers.backend_handler import BackendHandler
    return {
        handler.ONNX_OP: handler for handler in BackendHandler.__subclasses__() if handler.ONNX_OP
    }


def has_handler(op_type: str, opset: int) -> bool:
    """Whether onnx-tf can convert this operator as the opset defines it."""
    return _version(op_type, opset) is not None


def select(op_type: str, opset: int) -> Any:
    """The handler, set to the version of the operator that holds in ``opset``."""
    handler = handlers()[op_type]
    handler.VERSION = opset
    handler.SINCE_VERSION = _version(op_type, opset)
    return handler


def onnx_node(node: NodeProto) -> Any:
    """The node in the form that the handlers take."""
    # Without the handlers, importing any part of onnx-tf fails.
    handlers()
    from onnx_tf.pb_wrapper import OnnxNode

    return OnnxNode(node)


def _version(op_type: str, opset: int) -> int | None:
    handler = handlers().get(op_type)
    if handler is None or not defs.has(op_type, max_inclusive_version=opset):
        return None
    since = defs.get_schema(op_type, opset).since_version
    versions = [v for v in handler.get_versions() if v <= since]
    if since in versions:
        return int(since)
    return max(versions) if versions and op_type in _ONLY_TYPES_CHANGED else None


@contextmanager
def _stand_ins() -> Iterator[None]:
    mapping = _mapping()
    modules = {"onnx.mapping": mapping} | _addons() | _probability()
    replaced = {name: sys.modules.get(name) for name in modules}
    owners: tuple[Any, ...] = (onnx, helper)
    attributes = [(owner, hasattr(owner, "mapping")) for owner in owners]
    sys.modules.update(modules)
    for owner, had in attributes:
        if not had:
            owner.mapping = mapping
    try:
        yield
    finally:
        for owner, had in attributes:
            if not had:
                del owner.mapping
        for name, module in replaced.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _mapping() -> Any:
    """onnx.mapping as of onnx 1.12, for the element types that numpy knows."""
    module: Any = ModuleType("onnx.mapping")
    types = [t for t in TensorProto.DataType.values() if t != TensorProto.UNDEFINED]
    numpy_types = {t: helper.tensor_dtype_to_np_dtype(t) for t in types}
    numpy_types[TensorProto.BFLOAT16] = np.dtype(np.float32)
    module.TENSOR_TYPE_TO_NP_TYPE = numpy_types
    module.NP_TYPE_TO_TENSOR_TYPE = {
        dtype: t for t, dtype in reversed(numpy_types.items()) if t != TensorProto.BFLOAT16
    }
    module.TENSOR_TYPE_TO_STORAGE_TENSOR_TYPE = {
        t: helper.tensor_dtype_to_storage_tensor_dtype(t) for t in types
    }
    module.STORAGE_TENSOR_TYPE_TO_FIELD = {t: helper.tensor_dtype_to_field(t) for t in types}
    return module


def _addons() -> dict[str, ModuleType]:
    package: Any = ModuleType("tensorflow_addons")
    package.__path__ = []
    seq2seq: Any = ModuleType("tensorflow_addons.seq2seq")
    package.seq2seq = seq2seq
    seq2seq.hardmax = _hardmax
    return {"tensorflow_addons": package, "tensorflow_addons.seq2seq": seq2seq}


def _hardmax(logits: Any, name: str | None = None) -> Any:
    tf = import_tensorflow()
    depth = tf.shape(logits)[-1]
    return tf.one_hot(tf.argmax(logits, -1), depth, dtype=logits.dtype, name=name)


def _probability() -> dict[str, ModuleType]:
    package: Any = ModuleType("tensorflow_probability")
    package.__path__ = []
    distributions: Any = ModuleType("tensorflow_probability.distributions")
    package.distributions = distributions
    distributions.Bernoulli = _Bernoulli
    return {
        "tensorflow_probability": package,
        "tensorflow_probability.distributions": distributions,
    }


class _Bernoulli:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("Bernoulli draws random numbers, which no inference needs")
