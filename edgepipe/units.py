"""Units of metrics: values are kept in base units, read with a suffix and shown to a person."""

from __future__ import annotations

import math
import re
from typing import Literal, get_args

Unit = Literal["fraction", "s", "bytes", "count", "number"]
UNITS: tuple[str, ...] = get_args(Unit)

SUFFIXES: dict[str, float] = {
    "%": 1e-2,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "min": 60.0,
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
}
"""What a number in a gate may be followed by, and what it multiplies the number with."""

MEASURES: dict[str, str] = {
    **dict.fromkeys(("s", "ms", "us", "µs", "min"), "a time"),
    **dict.fromkeys(("B", "kB", "KB", "MB", "GB", "KiB", "MiB", "GiB", "bytes"), "a size"),
    **dict.fromkeys(("%", "fraction", "count", "number"), "a plain number"),
}
"""What a unit or a suffix measures; a suffix that is not among them fits all."""


def parse_size(text: str) -> int:
    """Bytes of a size like ``20 GB`` or ``512MiB``. Raises ValueError where it is none."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?B|[KMG]iB)\s*", text)
    if match is None:
        raise ValueError(f"'{text}' is no size: write a number and a unit, like '20 GB'")
    return int(float(match[1]) * {**SUFFIXES, "TB": 1e12}[match[2]])


def show(value: float, unit: str) -> str:
    """A number as a person reads it: three to four significant digits and a fitting prefix."""
    if not math.isfinite(value):
        return str(value)
    if unit == "fraction":
        return f"{value * 100:.2f} %"
    if unit == "s":
        return seconds(value)
    if unit == "bytes":
        return _scaled(value, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)))
    if unit == "count":
        return _scaled(value, (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)))
    return f"{value:.4g}"


def seconds(value: float) -> str:
    """A duration: ``3 min 20 s``, ``1.52 s``, ``4.1 ms``, ``12 µs``."""
    if value >= 100:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s"
    return _scaled(value, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)))


def _scaled(value: float, prefixes: tuple[tuple[str, float], ...]) -> str:
    # Chosen by what will be shown: 999.9 kB is 1.00 MB.
    rounded = float(f"{value:.3g}")
    for name, factor in prefixes:  # noqa: B007  the last one serves what is smaller
        if abs(rounded) >= factor:
            break
    scaled = value / factor
    whole = scaled == round(scaled) and factor == 1.0
    shown = abs(rounded / factor)
    digits = 0 if whole else 2 - (shown >= 10) - (shown >= 100)
    return f"{scaled:.{digits}f} {name}".rstrip()


def plural(count: int, noun: str) -> str:
    """``1 record``, ``2 records``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
