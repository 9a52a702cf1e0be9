"""The search for a removal of channels that is right, and removes as much as it can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from edgepipe_stages._pruning.cuts import CUTS
from edgepipe_stages._pruning.layers import prunable_layers
from edgepipe_stages._pruning.removal import CannotPruneError, Removal
from edgepipe_stages._pruning.verification import takes_the_right_channels

_LISTED = 20
_TRIAL = 0.5


def find_removal(module: nn.Module, wanted: Removal) -> tuple[Removal, list[str]]:
    """How to remove channels of a network: cut as little as it comes out right with.

    Where no cut is enough, the layers that go wrong stay as they are.

    Args:
        module: the network.
        wanted: has the settings; its level is where the search starts.

    Returns:
        the removal, and the names of layers that stay for its sake, with those that are coupled to
        them.

    Raises:
        CannotPruneError: nothing can go, and what was wrong without cuts.
    """
    removals = [replace(wanted, level=level) for level in range(wanted.level, len(CUTS))]
    problem: CannotPruneError | None = None
    for removal in removals:
        try:
            _try(module, removal)
        except CannotPruneError as error:
            problem = problem or error
        else:
            return removal, []
    candidates = [name for name in prunable_layers(module) if name not in wanted.kept]
    for removal in removals:
        if not _works(module, removal, []):
            continue
        wrong = _wrong(module, removal, candidates)
        chosen = replace(removal, kept=(*removal.kept, *wrong))
        if len(wrong) < len(candidates) and _works(module, chosen):
            return chosen, wrong
    assert problem
    first = problem.problems[0]
    raise CannotPruneError(
        f"no layer can lose channels ({listed(candidates)}): {first.message}", first.hint
    ) from problem


def listed(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:_LISTED]) + (" …" if len(names) > _LISTED else "")


class _AtRandom(torch_pruning.importance.GroupMagnitudeImportance):  # type: ignore[misc]
    """Channels here and there: rows of them side by side would hide mistakes."""

    def __call__(self, group: Any) -> Tensor | None:
        # It may fail, as the one that is asked for.
        importance = super().__call__(group)
        return None if importance is None else torch.rand_like(importance)


def _wrong(module: nn.Module, removal: Removal, layers: Sequence[str]) -> list[str]:
    """Layers that have to stay so that these can lose channels, by halving.

    What is coupled to a layer stays with it, so one of them is enough.
    """
    if _works(module, removal, layers):
        return []
    if len(layers) == 1:
        return list(layers)
    middle = len(layers) // 2
    first = _wrong(module, removal, layers[:middle])
    rest = replace(removal, kept=(*removal.kept, *first))
    return first + _wrong(module, rest, layers[middle:])


def _works(module: nn.Module, removal: Removal, only: Sequence[str] | None = None) -> bool:
    try:
        _try(module, removal, only)
    except CannotPruneError:
        return False
    return True


def _try(module: nn.Module, removal: Removal, only: Sequence[str] | None = None) -> None:
    def remove(trial: nn.Module) -> None:
        removal.run(trial, _TRIAL, _AtRandom(), only)

    if not takes_the_right_channels(module, removal.interface, remove):
        raise CannotPruneError(
            "channels that belong together cannot be followed through the network",
            "name the layers around what reorders or mixes channels in 'ignore'",
        )
