"""Imports TensorFlow the way that every stage of this package needs it."""

from __future__ import annotations

import importlib.util
import os
from typing import Any


def import_tensorflow() -> Any:
    """The module ``tensorflow``, with Keras 2 behind ``tf.keras`` where tf-keras is installed.

    Without effect on a process that has already imported TensorFlow: both settings are read at
    import time, which is why stages share a worker only through this function.
    """
    # onnx-tf and TFMOT are written against Keras 2.
    if importlib.util.find_spec("tf_keras"):
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # 1 leaves out what is only informative; warnings and errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    # Where TensorFlow runs without oneDNN, as on processors without AVX-512, it fuses a grouped
    # convolution with its bias into an operator that it cannot run.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    return tf
