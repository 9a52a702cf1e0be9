"""Structured pruning: channels are removed together with all that depends on them.

Here are the importance of channels, and the search for a target.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional

from edgepipe.stage import StageError
from edgepipe_stages import Interface
from edgepipe_stages._macs import macs_and_params
from edgepipe_stages._pruning.layers import output_layers, prunable_layers
from edgepipe_stages._pruning.removal import Removal
from edgepipe_stages._pruning.search import find_removal, listed
from edgepipe_stages._training.images import Images

Importance = Literal["l1", "l2", "bn_scale", "taylor"]

_SEARCH_STEPS = 7
_NEAR = 0.99
_HIGHEST_RATIO = 0.98


class ChannelPruner:
    """Makes a network's layers smaller, in place."""

    def __init__(
        self,
        interface: Interface,
        *,
        importance: Importance,
        round_to: int,
        ignore: Sequence[str] = (),
    ) -> None:
        """Say how to prune.

        Args:
            interface: of the network.
            importance: which channels go first: with the smallest weights (``l1``, ``l2``), the
                smallest scale of their batch norm (``bn_scale``, Liu et al., 2017), or the least
                effect on the loss (``taylor``, Molchanov et al., 2019), which needs gradients.
            round_to: numbers of channels become multiples of it.
            ignore: patterns of the names of layers whose outputs stay.
        """
        self.interface = interface
        self.importance = importance
        self.round_to = round_to
        self.ignore = ignore
        self.left_alone: list[str] = []
        """After the first removal: layers whose channels cannot be followed, so they stay."""
        self._removal: Removal | None = None

    def remove_channels(self, module: nn.Module, ratio: float) -> None:
        """Remove a share of each layer's channels.

        Raises:
            StageError: the network cannot be traced, or does not run afterwards.
        """
        if self._removal is None:
            wanted = Removal(self.interface, self.round_to, 0, self._kept(module))
            self._removal, self.left_alone = find_removal(module, wanted)
        self._removal.run(module, ratio, _importance(self.importance))

    def ratio_for(self, module: nn.Module, macs: int) -> float:
        """About the smallest share of channels whose removal leaves at most ``macs``.

        Raises:
            StageError: not even the largest share does.
        """
        low, high = 0.0, _HIGHEST_RATIO
        least = self._macs_after(module, high)
        if least > macs:
            raise StageError(
                f"pruning cannot bring the network down to {macs} MACs: {least} are left when"
                " nearly all channels that may go are gone",
                "ask for less, or lower 'round_to', or name fewer layers in 'ignore'",
            )
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2
            left = self._macs_after(module, middle)
            if left > macs:
                low = middle
                continue
            high = middle
            if left > _NEAR * macs:
                break
        return high

    def _macs_after(self, module: nn.Module, ratio: float) -> int:
        trial = _copy(module)
        self.remove_channels(trial, ratio)
        return macs_and_params(trial, self.interface)[0]

    def _kept(self, module: nn.Module) -> tuple[str, ...]:
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                raise StageError(
                    f"'{name}' is TorchScript, which cannot lose channels",
                    "put the module into the network that it was compiled from",
                )
        prunable_layers(module)
        names = [name for name, _ in module.named_modules() if name]
        for pattern in self.ignore:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise StageError(
                    f"'ignore': no layer of the network is called '{pattern}'",
                    f"it has {listed(list(prunable_layers(module)))}",
                )
        outputs = output_layers(module, self.interface)
        named = [n for n in names if any(fnmatchcase(n, pattern) for pattern in self.ignore)]
        return (*named, *(n for n, part in module.named_modules() if part in outputs))


def _copy(module: nn.Module) -> nn.Module:
    """A copy with the same gradients."""
    copied = copy.deepcopy(module)
    for parameter, own in zip(copied.parameters(), module.parameters(), strict=True):
        parameter.grad = own.grad
    return copied


def _importance(name: Importance) -> Callable[[Any], Tensor | None]:
    kinds = torch_pruning.importance
    if name == "bn_scale":
        chosen = kinds.BNScaleImportance()
    elif name == "taylor":
        chosen = kinds.GroupTaylorImportance()
    else:
        chosen = kinds.GroupMagnitudeImportance(p=1 if name == "l1" else 2)
    made: Callable[[Any], Tensor | None] = chosen
    return made


def accumulate_gradients(module: nn.Module, images: Images, batch_size: int = 64) -> None:
    """Fill ``grad`` with the gradient of the mean cross entropy, norms as in evaluation."""
    module.eval()
    module.zero_grad()
    for first in range(0, len(images), batch_size):
        batch = slice(first, first + batch_size)
        scores = module(images.normalized(images.pixels[batch]))
        loss = functional.cross_entropy(scores, images.labels[batch], reduction="sum")
        (loss / len(images)).backward()  # type: ignore[no-untyped-call]
