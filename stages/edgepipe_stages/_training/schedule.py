"""The learning rate of each step."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter, 2017).

    Args:
        step: from 0.
        steps: of the whole training.
        warmup: the steps before ``peak`` is reached.
        peak: the highest rate.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
