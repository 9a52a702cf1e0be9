"""Weights that a layer computes from others, made plain: what pruning writes to has to stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import (
    SpectralNorm,
    SpectralNormLoadStateDictPreHook,
    remove_spectral_norm,
)
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm


def make_plain(module: nn.Module, only: Collection[str] | None = None) -> list[str]:
    """Store weights as they are now, where they are computed, in place.

    Covers `torch.nn.utils.parametrize`, the weight and spectral norm before it, and the masks of
    `torch.nn.utils.prune`. The network computes what it did before; the names of its parameters
    change.

    Args:
        module: in evaluation mode, as a spectral norm changes with each run in training.
        only: names of parts to look at; all by default.

    Returns:
        the names of the parts that changed.
    """
    parts = [(n, part) for n, part in module.named_modules() if only is None or n in only]
    return [name for name, part in parts if _make_part_plain(part)]


def plain_weights(module: nn.Module, description: Mapping[str, Any]) -> dict[str, list[str]]:
    """Make all weights plain, as `make_plain` does: what that adds to the model's description."""
    plain = {*description.get("plain", ()), *make_plain(module)}
    return {"plain": sorted(plain)} if plain else {}


def _make_part_plain(part: nn.Module) -> bool:
    changed = False
    if parametrize.is_parametrized(part):
        for name in list(part.parametrizations):  # type: ignore[arg-type]
            parametrize.remove_parametrizations(part, name)
            changed = True
    for hook in list(part._forward_pre_hooks.values()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(part, hook.name)
        elif isinstance(hook, SpectralNorm):
            _remove_spectral_norm(part, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            prune.remove(part, hook._tensor_name)  # type: ignore[no-untyped-call]
        else:
            continue
        changed = True
    return changed


def _remove_spectral_norm(part: nn.Module, name: str) -> None:
    remove_spectral_norm(part, name)
    # torch leaves this one behind, which still wants the weights from before.
    for key, hook in list(part._load_state_dict_pre_hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del part._load_state_dict_pre_hooks[key]
