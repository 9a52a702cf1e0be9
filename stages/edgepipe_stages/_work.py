"""How much work a network is, and which of its operators are left out of that number."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What one image costs.

    Multiply-accumulates are those of convolutions, linear and recurrent layers, matrix products
    and attention; activations, norms, pooling, biases and additions have none, as is the custom.
    """

    macs: int
    """Multiply-accumulate operations for one image."""
    parameters: int
    """How many weights and biases."""
    uncounted: tuple[str, ...] = ()
    """Operators, by type and name, whose multiply-accumulates are not known and not in ``macs``."""

    @property
    def left_out(self) -> str | None:
        """What ``macs`` leaves out, as a sentence; None if nothing."""
        if not self.uncounted:
            return None
        few = ", ".join(self.uncounted[:_FEW])
        more = f" and {len(self.uncounted) - _FEW} more" if len(self.uncounted) > _FEW else ""
        return f"macs leaves out operators whose work is not known: {few}{more}"


_FEW = 5
