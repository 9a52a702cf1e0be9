"""Structured pruning: channels are removed together with all that depends on them.

torch-pruning finds what depends on a channel (Fang et al., 2023,
https://arxiv.org/abs/2301.12900) and removes it; here are its use and the search for a target.
"""

from __future__ import annotations

import copy
import warnings
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
from edgepipe_stages._pruning.cuts import CUTS, Cuts
from edgepipe_stages._pruning.layers import LAYERS, output_layers
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
        self._level: int | None = None

    def remove_channels(self, module: nn.Module, ratio: float) -> None:
        """Remove a share of each layer's channels.

        Raises:
            StageError: the network cannot be traced, or does not run afterwards.
        """
        if self._level is None:
            self._level = self._find_level(module)
        self._remove(module, ratio, self._level)

    def _find_level(self, module: nn.Module) -> int:
        """How much to cut the network, as an index of `CUTS`: as little as it runs with.

        Raises:
            StageError: it never runs. This is what was wrong without cuts.
        """
        problem: StageError | None = None
        for level in range(len(CUTS)):
            try:
                self._remove(_copy(module), 0.5, level)
            except _CannotPruneError as error:
                problem = problem or StageError(error.problems)
            else:
                return level
        assert problem
        raise problem

    def _remove(self, module: nn.Module, ratio: float, level: int) -> None:
        trained = [parameter.requires_grad for parameter in module.parameters()]
        module.requires_grad_(True)
        image = torch.zeros(self.interface.shape)
        cuts = Cuts(module, level)
        cuts.run(image)
        # Its defaults are dictionaries that all pruners would share.
        groups: dict[str, Any] = {name: {} for name in ("in_channel_groups", "out_channel_groups")}

        with warnings.catch_warnings():
            # A parameter outside of layers is pruned by its last dimension, which
            # `_check_runs` then judges.
            warnings.filterwarnings("ignore", "Unwrapped parameters detected", UserWarning)
            try:
                _NearestMultiple(
                    module,
                    (image,),
                    importance=_importance(self.importance),
                    pruning_ratio=ratio,
                    ignored_layers=[*self._kept(module), *cuts.kept],
                    round_to=self.round_to,
                    num_heads={},
                    forward_fn=lambda network, inputs: Cuts(network, level).run(*inputs),
                    **groups,
                ).step()
            except Exception as error:
                raise _CannotPruneError(
                    "torch-pruning cannot follow the channels through the network:"
                    f" {type(error).__name__}: {error}",
                    "prune.magnitude takes any network",
                ) from error
        for parameter, flag in zip(module.parameters(), trained, strict=True):
            parameter.requires_grad_(flag)
        module.zero_grad()
        self._check_runs(module)

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

    def _kept(self, module: nn.Module) -> list[nn.Module]:
        layers = {name: part for name, part in module.named_modules() if isinstance(part, LAYERS)}
        for pattern in self.ignore:
            if not any(fnmatchcase(name, pattern) for name, _ in module.named_modules()):
                raise StageError(
                    f"'ignore': no layer of the network is called '{pattern}'",
                    "it has " + ", ".join(list(layers)[:20]) + (" …" if len(layers) > 20 else ""),
                )
        named = [
            part
            for name, part in module.named_modules()
            if name and any(fnmatchcase(name, pattern) for pattern in self.ignore)
        ]
        return [*named, *output_layers(module, self.interface)]

    def _check_runs(self, module: nn.Module) -> None:
        expected = (1, len(self.interface.classes))
        try:
            with torch.no_grad():
                shape = tuple(module.eval()(torch.zeros(self.interface.shape)).shape)
        except Exception as error:
            raise _CannotPruneError(
                f"the pruned network does not run: {type(error).__name__}: {error}",
                "a size that is written in the network's own code cannot change: compute it from"
                " the tensors, or name the layers that it depends on in 'ignore'",
            ) from error
        if shape != expected:
            raise _CannotPruneError(
                f"the pruned network gives scores of shape {shape}, not {expected}",
                "name the layers that make its scores in 'ignore'",
            )


class _CannotPruneError(StageError):
    """What torch-pruning makes of a network cannot be used."""


def _copy(module: nn.Module) -> nn.Module:
    """A copy with the same gradients."""
    copied = copy.deepcopy(module)
    for parameter, own in zip(copied.parameters(), module.parameters(), strict=True):
        parameter.grad = own.grad
    return copied


class _NearestMultiple(torch_pruning.pruner.BasePruner):  # type: ignore[misc]
    """Rounds numbers of channels to the nearest multiple, not down.

    Rounding down takes half of a layer of 16 channels, at round_to 8, for any ratio above zero.
    """

    def _round_to(self, n_pruned: int, current_channels: int, round_to: int) -> int:
        left = max(1, round((current_channels - n_pruned) / round_to)) * round_to
        return max(current_channels - left, 0)


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
