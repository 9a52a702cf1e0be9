"""What pruning removed beyond what was asked for, in sentences for the user."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from edgepipe_stages._pruning.layers import prunable_layers
from edgepipe_stages._pruning.search import listed

_WORTH_TELLING = 0.1


def widths(module: nn.Module) -> dict[str, int]:
    """How many channels each layer gives, by its name."""
    found = {}
    for name, layer in prunable_layers(module).items():
        width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        found[name] = int(width)  # type: ignore[arg-type]
    return found


def excess_of_macs(asked: float, gone: float, round_to: int) -> str | None:
    """Says so where the share of multiply-accumulates that went is far from the one asked for."""
    if gone <= asked + _WORTH_TELLING:
        return None
    return (
        f"{gone:.0%} of the multiply-accumulates went where macs_ratio asks for {asked:.0%}: the"
        f" network has few numbers of channels that are multiples of {round_to}; lower round_to"
        " for a finer choice"
    )


def excess_of_channels(
    asked: float, before: Mapping[str, int], after: Mapping[str, int], round_to: int
) -> str | None:
    """Says which layers lost more channels than the share asked for, rounded, comes to."""
    wrong = []
    for name, width in before.items():
        wanted = max(1, round(width * (1 - asked) / round_to)) * round_to
        gone = 1 - after[name] / width
        if after[name] < wanted and gone > asked + _WORTH_TELLING:
            wrong.append(f"{name} {gone:.0%}")
    if not wrong:
        return None
    return (
        f"layers lost more channels than the {asked:.0%} that ratio asks for ({listed(wrong)}), as"
        " some of their channels go only together; lower ratio, or name them in 'ignore'"
    )
