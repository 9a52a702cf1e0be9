"""Makes the module that an `Architecture` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgepipe.errors import did_you_mean
from edgepipe.stage import StageError
from edgepipe_stages import Interface, _zoo
from edgepipe_stages._architecture import Architecture
from edgepipe_stages._torchvision import make_torchvision_importable


def create(
    architecture: Architecture, interface: Interface, user_object: Callable[[str], Any]
) -> nn.Module:
    """A fresh module for images and classes of an interface.

    The user's class or function is called with ``kwargs`` and with those of ``num_classes``,
    ``channels``, ``height`` and ``width`` that its signature names.

    Raises:
        StageError: the library has no such architecture, or making it failed.
    """
    name = architecture.arch.partition(":")[2]
    if architecture.library == "zoo":
        return _zoo.create(
            architecture.arch,
            classes=len(interface.classes),
            channels=interface.channels,
            width=architecture.width,
            unstrided=architecture.unstrided(interface.height, interface.width),
            dropout=architecture.dropout,
            activation=architecture.activation,
        )
    kwargs = dict(architecture.kwargs)
    user_maker = user_object(name) if architecture.library == "python" else None
    try:
        if user_maker is not None:
            module = _python(user_maker, interface, kwargs)
        elif architecture.library == "timm":
            module = _timm(name, interface, kwargs)
        else:
            module = _torchvision(name, interface, kwargs)
    except StageError:
        raise
    except Exception as error:
        raise StageError(
            f"'{architecture.arch}' could not be made: {type(error).__name__}: {error}",
            "look at its kwargs",
        ) from error
    if not isinstance(module, nn.Module):
        raise StageError(
            f"'{architecture.arch}' gave a {type(module).__name__}, not a torch.nn.Module",
            "name a class, or a function that returns a module",
        )
    if any(map(is_lazy, [*module.parameters(), *module.buffers()])):
        _find_sizes(module, interface)
    return module


def _find_sizes(module: nn.Module, interface: Interface) -> None:
    """Run a network once, which gives its lazy layers their weights."""
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(interface.shape))
    except Exception as error:
        raise StageError(
            f"the network does not run on an image of {interface.shape[1:]}: {error}",
            "channels × height × width must be what it was made for",
        ) from error
    module.train(training)


def _python(maker: Callable[..., Any], interface: Interface, kwargs: dict[str, Any]) -> Any:
    known = {
        "num_classes": len(interface.classes),
        "channels": interface.channels,
        "height": interface.height,
        "width": interface.width,
    }
    taken = inspect.signature(maker).parameters
    return maker(**{name: value for name, value in known.items() if name in taken} | kwargs)


def _timm(name: str, interface: Interface, kwargs: dict[str, Any]) -> Any:
    make_torchvision_importable()
    import timm

    if not timm.is_model(name):
        raise StageError(f"timm has no model '{name}'", _nearest(name, timm.list_models()))
    return timm.create_model(
        name,
        pretrained=False,
        num_classes=len(interface.classes),
        in_chans=interface.channels,
        **kwargs,
    )


def _torchvision(name: str, interface: Interface, kwargs: dict[str, Any]) -> Any:
    make_torchvision_importable()
    from torchvision import models

    if name not in models.list_models(module=models):
        raise StageError(
            f"torchvision has no classification model '{name}'",
            _nearest(name, models.list_models(module=models)),
        )
    module = models.get_model(name, weights=None, num_classes=len(interface.classes), **kwargs)
    if interface.channels != 3:
        _replace_first_convolution(module, interface.channels)
    return module


def _nearest(name: str, choices: list[str]) -> str:
    return did_you_mean(name, choices).partition("? ")[0] + "?"


def _replace_first_convolution(module: nn.Module, channels: int) -> None:
    """The models of torchvision take three channels only: make the first convolution anew."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            parent = module.get_submodule(name.rpartition(".")[0])
            fresh = nn.Conv2d(
                channels,
                part.out_channels,
                part.kernel_size,  # type: ignore[arg-type]
                part.stride,  # type: ignore[arg-type]
                part.padding,  # type: ignore[arg-type]
                bias=part.bias is not None,
            )
            setattr(parent, name.rpartition(".")[2], fresh)
            return
    raise StageError("the model has no convolution that could take another number of channels")
