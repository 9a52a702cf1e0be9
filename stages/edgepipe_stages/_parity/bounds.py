"""How far a model may be from the original: what each precision can keep."""

from __future__ import annotations

from dataclasses import dataclass

from edgepipe.units import show
from edgepipe_stages._parity.distance import Distance


@dataclass(frozen=True)
class Bounds:
    """Limits on a `Distance`; None does not limit."""

    max_abs_diff: float | None = None
    max_relative_error: float | None = None
    min_sqnr_db: float | None = None
    min_top1_agreement: float | None = None
    max_accuracy_drop: float | None = None


BY_PRECISION = {
    "float32": Bounds(None, 1e-3, 50.0, 0.99, 0.005),
    "float16": Bounds(None, 3e-2, 30.0, 0.98, 0.01),
    "dynamic": Bounds(None, None, 15.0, 0.95, 0.02),
    "int8": Bounds(None, None, 10.0, 0.95, 0.02),
}
"""The order of sums alone moves float32 by 1e-6 of the largest score; a sound int8 network keeps
15 to 30 dB, one with a wrong layer less than 8."""


def violations(found: Distance, own: Bounds, precision: str, images: int) -> list[str]:
    """What is out of bounds, with the bound.

    Args:
        found: the distance on ``images`` images.
        own: the user's bounds; where one is None, that of the precision counts.
        precision: a key of `BY_PRECISION`. Its shares of images always leave room for one image,
            which may lie on the border between two classes.
        images: how many were compared.
    """
    default = BY_PRECISION[precision]
    one = 1 / images
    agreement = _either(own.min_top1_agreement, min(default.min_top1_agreement or 0, 1 - one))
    drop = _either(own.max_accuracy_drop, max(default.max_accuracy_drop or 0, one))
    relative = _either(own.max_relative_error, default.max_relative_error)
    noise = _either(own.min_sqnr_db, default.min_sqnr_db)
    checks = [
        ("largest difference", found.max_abs_diff, "at most", own.max_abs_diff, "number"),
        ("relative error", found.relative_error, "at most", relative, "fraction"),
        ("SQNR in dB", found.sqnr_db, "at least", noise, "number"),
        ("top-1 agreement", found.top1_agreement, "at least", agreement, "fraction"),
        ("accuracy drop", found.accuracy_drop, "at most", drop, "fraction"),
    ]
    return [
        f"{name} {show(value, unit)} ({side} {show(bound, unit)})"
        for name, value, side, bound, unit in checks
        if bound is not None and not _holds(value, side, bound)
    ]


def _holds(value: float, side: str, bound: float) -> bool:
    """Whether a number keeps a bound, up to rounding; one that is no number never does."""
    slack = 1e-9
    return value <= bound + slack if side == "at most" else value >= bound - slack


def _either(own: float | None, default: float | None) -> float | None:
    return default if own is None else own
