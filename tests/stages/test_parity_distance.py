"""How far scores are apart, by hand; and which bounds they keep."""

from __future__ import annotations

import numpy as np
import pytest

from edgepipe_stages._parity.bounds import BY_PRECISION, Bounds, violations
from edgepipe_stages._parity.distance import MOST, Distance, distance, sqnr


def test_sqnr_by_hand() -> None:
    reference = np.array([3.0, 4.0])
    assert sqnr(reference, reference + np.array([0.3, 0.4])) == pytest.approx(20)
    assert sqnr(reference, 2 * reference) == pytest.approx(0)
    assert sqnr(reference, reference) == MOST
    assert sqnr(reference * 0, reference) == -MOST
    assert sqnr(reference, reference * np.nan) == -MOST


def test_distance_by_hand() -> None:
    reference = np.array([[4, 0], [0, 2], [1, 0], [0, 1]], np.float32)
    own = np.array([[4, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    found = distance(reference, own, np.array([0, 1, 1, 1]))
    assert found.max_abs_diff == 1
    assert found.mean_abs_diff == 3 / 8
    assert found.relative_error == 0.25
    assert found.sqnr_db == pytest.approx(10 * np.log10(22 / 3))
    assert found.top1_agreement == 0.75
    assert (found.accuracy_reference, found.accuracy) == (0.75, 1.0)
    assert found.accuracy_drop == -0.25


GOOD = Distance(6e-8, 1e-9, 6e-8, 140.0, 1.0, 0.9, 0.9)


def test_rounding_is_no_violation() -> None:
    for precision in BY_PRECISION:
        assert violations(GOOD, Bounds(), precision, 100) == []


def test_the_users_bound_comes_first() -> None:
    assert violations(GOOD, Bounds(max_abs_diff=1e-8), "float32", 100) == [
        "largest difference 6e-08 (at most 1e-08)"
    ]
    worse = Distance(5.0, 1.0, 0.4, 9.0, 0.9, 0.9, 0.85)
    assert violations(worse, Bounds(), "int8", 100) == [
        "SQNR in dB 9 (at least 10)",
        "top-1 agreement 90.00 % (at least 95.00 %)",
        "accuracy drop 5.00 % (at most 2.00 %)",
    ]
    loose = Bounds(min_sqnr_db=8, min_top1_agreement=0.9, max_accuracy_drop=0.05)
    assert violations(worse, loose, "int8", 100) == []


def test_one_image_of_few_may_differ() -> None:
    one_of_ten = Distance(0.1, 0.01, 0.1, 20.0, 0.9, 0.9, 0.8)
    assert violations(one_of_ten, Bounds(), "int8", 10) == []
    assert len(violations(one_of_ten, Bounds(), "int8", 100)) == 2
    assert len(violations(one_of_ten, Bounds(min_top1_agreement=1.0), "int8", 10)) == 1


def test_what_is_no_number_keeps_no_bound() -> None:
    nan = float("nan")
    broken = Distance(nan, nan, nan, -MOST, 0.1, 0.9, 0.1)
    assert len(violations(broken, Bounds(max_abs_diff=1e9), "float32", 100)) == 5
