"""Whether an exported ONNX model computes what the torch module does."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface

IMAGES = 4


def relative_error(
    module: nn.Module, model: onnx.ModelProto, interface: Interface, threads: int
) -> float:
    """The largest difference of a score, as a share of the largest score, on images of noise.

    Infinite where one gives numbers and the other does not.

    Args:
        module: in evaluation mode.
        model: with one input and one output; it gets one image at a time.
        interface: of both.
        threads: how many ONNX Runtime may use.

    Raises:
        StageError: ONNX Runtime does not run the model.
    """
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(interface.shape, generator=generator) for _ in range(IMAGES)]
    with torch.no_grad():
        expected = np.stack([module(image).float().numpy() for image in images])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        found = np.stack([session.run(None, {name: image.numpy()})[0] for image in images])
    except Exception as error:  # onnxruntime's exceptions share no base
        raise StageError(f"ONNX Runtime does not run the model: {error}") from error
    finite = np.isfinite(expected)
    if (finite != np.isfinite(found)).any():
        return float("inf")
    difference = np.abs(expected - found)[finite].max(initial=0)
    largest = np.abs(expected)[finite].max(initial=0)
    return float(difference / largest if largest else difference)
