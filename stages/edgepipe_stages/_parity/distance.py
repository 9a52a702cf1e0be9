"""How far two tensors or two sets of scores are from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 200.0
"""Equal to the last bit, in decibels: keeps numbers finite."""


def sqnr(reference: NDArray[Any], values: NDArray[Any]) -> float:
    """Signal to quantization noise, in decibels: 10 log10(Σ reference² / Σ (reference - values)²).

    Every 20 dB are a factor of ten in the root mean square error. Within ±`MOST`.
    """
    signal = np.square(reference, dtype=np.float64).sum()
    noise = np.square(np.subtract(reference, values, dtype=np.float64)).sum()
    if not np.isfinite(noise):
        return -MOST
    if noise == 0:
        return MOST
    if signal == 0:
        return -MOST
    return float(np.clip(10 * np.log10(signal / noise), -MOST, MOST))


@dataclass(frozen=True)
class Distance:
    """Two models' scores on the same labelled images."""

    max_abs_diff: float
    mean_abs_diff: float
    relative_error: float
    """The largest difference as a share of the reference's largest score."""
    sqnr_db: float
    top1_agreement: float
    accuracy_reference: float
    accuracy: float

    @property
    def accuracy_drop(self) -> float:
        """How much less accurate the model is than the reference; below 0 if it is better."""
        return self.accuracy_reference - self.accuracy


def distance(
    reference: NDArray[np.float32], scores: NDArray[np.float32], labels: NDArray[np.int64]
) -> Distance:
    """Compare scores, N × classes."""
    difference = np.abs(reference.astype(np.float64) - scores)
    scale = float(np.abs(reference).max())
    best, own = reference.argmax(axis=1), scores.argmax(axis=1)
    return Distance(
        max_abs_diff=float(difference.max()),
        mean_abs_diff=float(difference.mean()),
        relative_error=float(difference.max()) / scale if scale else float(difference.max()),
        sqnr_db=sqnr(reference, scores),
        top1_agreement=float((best == own).mean()),
        accuracy_reference=float((best == labels).mean()),
        accuracy=float((own == labels).mean()),
    )
