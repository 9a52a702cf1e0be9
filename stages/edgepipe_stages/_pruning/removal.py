"""One removal of channels: torch-pruning finds what depends on a channel, and removes it.

Fang et al., 2023, https://arxiv.org/abs/2301.12900.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.dependency import graph

from edgepipe.stage import StageError
from edgepipe_stages import Interface
from edgepipe_stages._macs import blank_image
from edgepipe_stages._pruning.cuts import Cuts

Importance = Callable[[Any], Tensor | None]
"""torch-pruning's: a number for each channel of a group, the smallest goes first."""

_MOST_DEPENDENCIES = 2000
_REPEATS = 4


class CannotPruneError(StageError):
    """What torch-pruning makes of a network cannot be used."""


@dataclass(frozen=True)
class Removal:
    """Which channels may go, as far as they can be followed."""

    interface: Interface
    round_to: int
    """Numbers of channels become multiples of it."""
    level: int
    """How much to cut the network: an index of `CUTS`."""
    kept: tuple[str, ...]
    """Modules whose outputs stay."""

    def run(
        self,
        module: nn.Module,
        ratio: float,
        importance: Importance,
        only: Collection[str] | None = None,
    ) -> None:
        """Remove a share of each layer's channels, in place.

        Args:
            module: the network.
            ratio: the share.
            importance: which channels go.
            only: names of layers; others lose channels only together with them.

        Raises:
            CannotPruneError: the channels cannot be followed, or the network does not run
                afterwards.
        """
        parts = dict(module.named_modules())
        chosen = None if only is None else {parts[name] for name in only}
        trained = [parameter.requires_grad for parameter in module.parameters()]
        for parameter in module.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        image = blank_image(module, self.interface)
        cuts = Cuts(module, self.level)
        # Its defaults are dictionaries that all pruners would share.
        groups: dict[str, Any] = {name: {} for name in ("in_channel_groups", "out_channel_groups")}
        with warnings.catch_warnings(), _bounded(module):
            # A parameter outside of layers is pruned by its last dimension, which what follows
            # then judges.
            warnings.filterwarnings("ignore", "Unwrapped parameters detected", UserWarning)
            try:
                cuts.run(image)
                _NearestMultiple(
                    module,
                    (image,),
                    importance=importance if chosen is None else _of(chosen, importance),
                    pruning_ratio=ratio,
                    ignored_layers=[*(parts[name] for name in self.kept), *cuts.kept],
                    round_to=self.round_to,
                    num_heads={},
                    forward_fn=lambda network, inputs: Cuts(network, self.level).run(*inputs),
                    **groups,
                ).step()
            except Exception as error:
                raise CannotPruneError(
                    "torch-pruning cannot follow the channels through the network:"
                    f" {type(error).__name__}: {error}",
                    "prune.magnitude takes any network",
                ) from error
        for parameter, flag in zip(module.parameters(), trained, strict=True):
            parameter.requires_grad_(flag)
        module.zero_grad()
        self._check_runs(module)

    def _check_runs(self, module: nn.Module) -> None:
        expected = (1, len(self.interface.classes))
        try:
            with torch.no_grad():
                shape = tuple(module.eval()(blank_image(module, self.interface)).shape)
        except Exception as error:
            raise CannotPruneError(
                f"the pruned network does not run: {type(error).__name__}: {error}",
                "a size that is written in the network's own code cannot change: compute it from"
                " the tensors, or name the layers that it depends on in 'ignore'",
            ) from error
        if shape != expected:
            raise CannotPruneError(
                f"the pruned network gives scores of shape {shape}, not {expected}",
                "name the layers that make its scores in 'ignore'",
            )


class _NearestMultiple(torch_pruning.pruner.BasePruner):  # type: ignore[misc]
    """Rounds numbers of channels to the nearest multiple, not down.

    Rounding down takes half of a layer of 16 channels, at round_to 8, for any ratio above zero.
    """

    def _round_to(self, n_pruned: int, current_channels: int, round_to: int) -> int:
        left = max(1, round((current_channels - n_pruned) / round_to)) * round_to
        return max(current_channels - left, 0)


def _of(layers: set[nn.Module], importance: Importance) -> Importance:
    def judge(group: Any) -> Tensor | None:
        shrinks = group._DG.is_out_channel_pruning_fn
        if any(dep.target.module in layers and shrinks(dep.handler) for dep, _ in group):
            return importance(group)
        return None

    return judge


@contextmanager
def _bounded(module: nn.Module) -> Iterator[None]:
    """Ends a search that does not end by itself.

    Where torch-pruning is wrong about a flatten or a concatenation, each round through it makes
    more channels out of those of the round before.
    """
    widest = max((max(p.shape) for p in module.parameters() if p.ndim), default=1)

    class Bounded(graph.Group):  # type: ignore[misc]
        def add_dep(self, dep: Any, idxs: list[Any]) -> None:
            if len(idxs) > _REPEATS * widest or len(self) > _MOST_DEPENDENCIES:
                raise RuntimeError("more channels depend on each other than there are")
            super().add_dep(dep, idxs)

    unbounded = graph.Group
    graph.Group = Bounded
    try:
        yield
    finally:
        graph.Group = unbounded
