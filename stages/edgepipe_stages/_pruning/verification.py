"""Whether a removal of channels takes what belongs together.

A network with random weights loses channels. The same network whose weights are zero wherever
the first one lost them has to give the same scores: channels that are not there, and channels
that are zero and that nobody looks at, are the same. They differ where another layer lost the
wrong inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgepipe_stages import Interface
from edgepipe_stages._pruning.functions import functions

_STEP = 2.0**-30
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}


def takes_the_right_channels(
    module: nn.Module, interface: Interface, remove: Callable[[nn.Module], None]
) -> bool:
    """Try a removal on copies of a network, with weights of their own.

    Args:
        module: stays as it is.
        interface: of the network.
        remove: removes channels of a module, in place.

    Raises:
        CannotPruneError: ``remove`` says so.
    """
    whole = copy.deepcopy(module).eval().requires_grad_(False)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        image = torch.randn(interface.shape)
        dtype = _precision(whole, image)
        image, whole = image.to(dtype), whole.to(dtype)
        pruned = copy.deepcopy(whole)
        # Each weight is its own place, which tells those that are left.
        for weight in _weights(pruned).values():
            weight.copy_(torch.arange(weight.numel()).view(weight.shape) * _STEP)
        with torch.enable_grad():
            remove(pruned)
        _fill(whole, pruned)
        return _same(whole, pruned, image, _TOLERANCE[dtype])


def _precision(module: nn.Module, image: Tensor) -> torch.dtype:
    """The finest that the network runs in; some turn everything into float32 by themselves."""
    try:
        copy.deepcopy(module).double()(image.double())
    except Exception:  # whatever the user's own code raises
        return torch.float32
    return torch.float64


def _weights(module: nn.Module) -> dict[str, Tensor]:
    named = module.named_parameters(remove_duplicate=False)
    return {name: weight for name, weight in named if weight.is_floating_point()}


def _fill(whole: nn.Module, pruned: nn.Module) -> None:
    """Random weights for both: the same where both have them, zero where only one has."""
    left = {name: (weight / _STEP).round().long() for name, weight in _weights(pruned).items()}
    for weight in _weights(whole).values():
        if weight.ndim > 1:
            weight.normal_(std=(weight.shape[0] / weight.numel()) ** 0.5)
        else:
            weight.uniform_(0.5, 1.5)
    for name, weight in _weights(whole).items():
        stays = torch.zeros(weight.numel(), dtype=torch.bool)
        stays[left[name].flatten()] = True
        weight.mul_(stays.view(weight.shape))
    values = _weights(whole)
    for name, weight in _weights(pruned).items():
        weight.copy_(values[name].flatten()[left[name]])


def _same(whole: nn.Module, pruned: nn.Module, image: Tensor, tolerance: float) -> bool:
    first = [_ChannelByChannel() for _ in range(2)]
    for network, mode in zip((whole, pruned), first, strict=True):
        with mode:
            network(image)
    if len(first[0].shares) != len(first[1].shares):
        return False
    shares = zip(first[0].shares, first[1].shares, strict=True)
    of_channels = {place for place, (a, b) in enumerate(shares) if a != b}
    scores = []
    for network in (whole, pruned):
        with _ChannelByChannel(of_channels):
            scores.append(network(image))
    difference = (scores[0] - scores[1]).abs().max()
    return bool(difference <= tolerance * scores[0].abs().max())


_SOFTMAX = functions("log_softmax softmax softmin")
_REDUCTIONS = functions("amax amin logsumexp mean std var")


class _ChannelByChannel(TorchFunctionMode):
    """Replaces what depends on the number of channels, right ones or wrong.

    Norms only scale, a softmax does nothing, attention is not divided by its width. A reduction
    gives zero where it is one of all channels, which its first run finds out by its share.
    """

    def __init__(self, of_channels: set[int] | None = None) -> None:
        super().__init__()
        self.of_channels = of_channels or set()
        self.shares: list[float] = []
        """Of each reduction: how many numbers become one."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in _SOFTMAX or func is functional.local_response_norm:
            return args[0] * 1
        if func in _NORMS:
            return _NORMS[func](*args, **given)
        if func is functional.scaled_dot_product_attention:
            given = {**given, "scale": 1.0}
        result = func(*args, **given)
        if func in _REDUCTIONS and isinstance(result, Tensor):
            self.shares.append(args[0].numel() / max(1, result.numel()))
            if len(self.shares) - 1 in self.of_channels:
                return torch.zeros_like(result)
        return result


def _layer_norm(
    x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 0
) -> Tensor:
    return x * (1 if weight is None else weight) + (0 if bias is None else bias)


def _rms_norm(
    x: Tensor, shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    return _layer_norm(x, shape, weight)


def _group_norm(
    x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 0
) -> Tensor:
    weight, bias = (each if each is None else each.view(-1, 1) for each in (weight, bias))
    return _layer_norm(x.flatten(2), None, weight, bias).view(x.shape)


_NORMS: dict[Any, Callable[..., Tensor]] = {
    functional.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    functional.group_norm: _group_norm,
}
