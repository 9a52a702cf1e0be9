from __future__ import annotations

from dataclasses import replace

import pytest
from report_nodes import node
from report_pipeline import sample
from report_samples import cached

from edgepipe.report import figures
from edgepipe.results import GateResult


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "+0.50"), (-0.41, "−0.41"), (0.0, "0.00"), (-0.001, "0.00")]
)
def test_sign(value: float, text: str) -> None:
    assert figures.sign(value) == text


@pytest.mark.parametrize(
    ("new", "old", "text"),
    [(29, 100, "−71 %"), (103, 100, "+3 %"), (330, 100, "×3.3"), (1, 0, ""), (None, 1, "")],
)
def test_change(new: float | None, old: float | None, text: str) -> None:
    assert figures.change(new, old) == text


def test_points_and_times() -> None:
    assert figures.points(0.9861, 0.9933) == "−0.72"
    assert figures.points(None, 0.9) == figures.points(0.9, None) == ""
    assert figures.times(100, 8) == "12×"
    assert figures.times(1.0, 1.9) == "0.53×"
    assert figures.times(None, 1) == figures.times(1, 0) == ""


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("accuracy", "fraction"),
        ("validation_accuracy", "fraction"),
        ("top1_agreement", "fraction"),
        ("arena_bytes", "bytes"),
        ("latency_4t_p50", "s"),
        ("loading_seconds", "s"),
        ("macs", "count"),
        ("loss", "number"),
    ],
)
def test_units_that_nobody_gave(name: str, unit: str) -> None:
    assert figures.unit_of(name, {}) == unit
    assert figures.unit_of(name, {name: "count"}) == "count"


def test_a_metric_that_is_no_number_is_none() -> None:
    values = {"a": float("nan"), "b": True, "c": 2, "d": float("inf")}
    made = replace(node("n", "k.k", 1.0), metrics=values)
    assert [figures.number(made, name) for name in "abcde"] == [None, None, 2.0, None, None]
    assert figures.number(None, "a") is None
    assert figures.metric(made, "a") == ""
    assert figures.metric(made, "c") == "2"


def test_labels() -> None:
    assert figures.label("macs_removed") == "MACs removed"
    assert figures.label("top1_agreement") == "top-1 agreement"
    assert figures.label("float_tensors") == "float tensors"


def test_headline_says_what_the_cache_saved() -> None:
    assert figures.headline(sample()) == ["done in 3 min 18 s", "24 nodes: 24 ran"]
    assert figures.headline(cached())[1:] == ["24 nodes: 24 cached", "the cache saved 3 min 27 s"]
    assert figures.headline(replace(sample(), nodes=()))[1] == "0 nodes"
    assert figures.headline(replace(sample(), nodes=sample().nodes[:1]))[1] == "1 node: 1 ran"


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        (
            GateResult("a >= b", True, 0.979, 0.975, "fraction"),
            "97.90 % against 97.50 %, 0.40 points to spare",
        ),
        (
            GateResult("a >= b", False, 0.97, 0.975, "fraction"),
            "97.00 % against 97.50 %, 0.50 points short",
        ),
        (
            GateResult("a <= b", False, 1.5e6, 1e6, "bytes"),
            "1.50 MB against 1.00 MB, 500 kB (50 %) too much",
        ),
        (GateResult("a <= 0", True, -1.0, 0.0), "-1 against 0, 1 to spare"),
        (GateResult("a <= b", True, 1.0, 1.0), "1 against 1, just met"),
        (GateResult("a < b", False, 1.0, 1.0), "1 against 1, equal"),
        (GateResult("a < b", False, None, 1.0, error="a has no result"), "a has no result"),
        (GateResult("a < b", False, None, 1.0), "a value is missing"),
    ],
)
def test_gates(gate: GateResult, text: str) -> None:
    assert figures.gate_values(gate) == text
