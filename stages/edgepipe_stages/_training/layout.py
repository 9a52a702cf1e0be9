"""In which order images and weights lie in memory while a network is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface


@torch.no_grad()
def choose_layout(module: nn.Module, interface: Interface) -> torch.memory_format:
    """Give a module's weights a layout: channels last, in which processors convolve faster.

    A network that says ``x.view(…)`` after a convolution does not run with it and keeps its
    channels contiguous.

    Returns:
        the layout that its images need as well, see `arranged`.

    Raises:
        StageError: it does not take such images at all.
    """
    training = module.training
    module.eval()
    image = torch.zeros(interface.shape)
    layout = torch.channels_last
    _arrange_weights(module, layout)
    try:
        module(arranged(image, layout))
    except RuntimeError:
        layout = torch.contiguous_format
        _arrange_weights(module, layout)
        _check_runs(module, image)
    module.train(training)
    return layout


def arranged(images: Tensor, layout: torch.memory_format) -> Tensor:
    """Images in a layout."""
    if layout == torch.contiguous_format:
        # `contiguous` would leave the strides of a single channel, which are also those of
        # channels last and make convolutions answer in that layout.
        return images.clone(memory_format=layout)
    return images.contiguous(memory_format=layout)


def _arrange_weights(module: nn.Module, layout: torch.memory_format) -> None:
    module.to(memory_format=layout)  # type: ignore[call-overload]


def _check_runs(module: nn.Module, image: Tensor) -> None:
    try:
        module(image)
    except RuntimeError as error:
        _, channels, height, width = image.shape
        raise StageError(
            f"the network does not run on images of {height} × {width} × {channels}: {error}",
            "give the data stage the image_size and the channels that the network is made for",
        ) from error
