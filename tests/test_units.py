"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepipe.units import UNITS, seconds, show


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.97531, "fraction", "97.53 %"),
        (0, "fraction", "0.00 %"),
        (1.5224, "s", "1.52 s"),
        (0.0041234, "s", "4.12 ms"),
        (1.2e-5, "s", "12.0 µs"),
        (0, "s", "0.00 µs"),
        (99.99, "s", "100 s"),
        (200, "s", "3 min 20 s"),
        (3600, "s", "60 min 00 s"),
        (0, "bytes", "0 B"),
        (999, "bytes", "999 B"),
        (1e3, "bytes", "1.00 kB"),
        (134_864, "bytes", "135 kB"),
        (2.5e9, "bytes", "2.50 GB"),
        (12, "count", "12"),
        (12.5, "count", "12.5"),
        (3_400_000, "count", "3.40 M"),
        (-3_400_000, "count", "-3.40 M"),
        (1 / 3, "number", "0.3333"),
        (123456.0, "number", "1.235e+05"),
        (math.nan, "s", "nan"),
        (math.inf, "bytes", "inf"),
    ],
)
def test_show(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(UNITS))
def test_any_number_can_be_shown(value: float, unit: str) -> None:
    assert show(value, unit)


@given(st.floats(min_value=1e-9, max_value=1e9))
def test_seconds_name_their_unit(value: float) -> None:
    assert seconds(value).split()[-1] in {"s", "ms", "µs"}
