"""In which order images and weights lie in memory while a network is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface

_WIDEST_REGISTER = 16
"""Numbers of float32; the same everywhere, so that the layout does not depend on the machine."""


@torch.no_grad()
def choose_layout(module: nn.Module, interface: Interface) -> torch.memory_format:
    """Give a module's weights a layout: channels last, in which processors convolve faster.

    A network that says ``x.view(…)`` after a convolution does not run with it and keeps its
    channels contiguous; so does one with a convolution that oneDNN gets wrong.

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
    if _overruns(module) or not _runs(module, arranged(image, layout)):
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


def _overruns(module: nn.Module) -> bool:
    """Whether the gradient of a convolution would be written past its end, in channels last.

    oneDNN does that for strided kernels of one pixel and fewer channels than a register holds (8
    with AVX2, 16 with AVX-512), seen with torch 2.13: the process aborts, now or later.
    """
    return any(
        part.kernel_size == (1, 1)
        and max(part.stride) > 1
        and part.in_channels // part.groups < _WIDEST_REGISTER
        for part in module.modules()
        if isinstance(part, nn.Conv2d)
    )


def _runs(module: nn.Module, image: Tensor) -> bool:
    try:
        module(image)
    except RuntimeError:
        return False
    return True


def _check_runs(module: nn.Module, image: Tensor) -> None:
    try:
        module(image)
    except RuntimeError as error:
        _, channels, height, width = image.shape
        raise StageError(
            f"the network does not run on images of {height} × {width} × {channels}: {error}",
            "give the data stage the image_size and the channels that the network is made for",
        ) from error
