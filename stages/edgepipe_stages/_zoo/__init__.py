"""Plain definitions of a few edge architectures, with torchvision's parameter names and shapes.

At width 1 with the ImageNet stem, torchvision's published weights load. `NAMES` needs no torch;
`create` imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

NAMES = (
    "efficientnet_b0",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "shufflenet_v2",
    "squeezenet1_1",
)

Activation = Literal["default", "relu", "relu6", "hardswish"]


def create(
    name: str,
    *,
    classes: int,
    channels: int = 3,
    width: float = 1.0,
    unstrided: int = 0,
    dropout: float | None = None,
    activation: Activation = "default",
) -> nn.Module:
    """A fresh module: images N × channels × H × W in, scores N × classes out.

    Args:
        name: one of `NAMES`.
        classes: how many scores it gives.
        channels: of the images, 1 or 3.
        width: multiplies the number of channels of every layer.
        unstrided: how many of the strides nearest the input are left out (0, 1 or 2). The
            published strides shrink an image 32 times, which leaves one pixel of a 32 × 32 image.
        dropout: before the classifier; None is what the paper uses.
        activation: replaces the activations, except the gates of squeeze-and-excitation.
    """
    # Imports that are written out: a cache that follows them sees every definition.
    from edgepipe_stages._zoo import (
        _layers,
        efficientnet,
        mobilenet_v2,
        mobilenet_v3,
        resnet,
        shufflenet_v2,
        squeezenet,
    )

    modules = (efficientnet, mobilenet_v2, mobilenet_v3, resnet, shufflenet_v2, squeezenet)
    makers = {known: getattr(m, known) for m in modules for known in NAMES if hasattr(m, known)}
    model: nn.Module = makers[name](
        classes=classes, channels=channels, width=width, unstrided=unstrided, dropout=dropout
    )
    _layers.replace_activations(model, activation)
    return model
