"""Gates: what they compute, in which units, and where they are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepipe.gates import GateSyntaxError, MetricRef, Ref, by_how_much, parse

KNOWN = {"a.x": 2.0, "a[int8].x": 3.0, "a-b.port.x": 5.0, "m.size": 1e6}


def evaluate(text: str) -> tuple[float, float, bool]:
    def lookup(metric: MetricRef) -> float:
        return KNOWN[str(metric.ref)]

    return parse(text).evaluate(lookup)


@pytest.mark.parametrize(
    ("text", "left", "right", "holds"),
    [
        ("a.x <= 2", 2, 2, True),
        ("a.x < 2", 2, 2, False),
        ("a.x >= 2.5", 2, 2.5, False),
        ("a.x == 2", 2, 2, True),
        ("a.x>1", 2, 1, True),
        ("a[int8].x > a.x", 3, 2, True),
        ("a-b.port.x - a.x == 3", 3, 3, True),
        ("a.x-a[int8].x < 0", -1, 0, True),
        ("1 + 2 * 3 - 4 / 2 == a.x + 3", 5, 5, True),
        ("(1 + 2) * 3 == a.x", 9, 2, False),
        ("-a.x < -(1)", -2, -1, True),
        ("10 - 3 - 2 == a.x", 5, 2, False),
        ("8 / 2 / 2 == a.x", 2, 2, True),
        ("m.size <= 1 MB", 1e6, 1e6, True),
        ("m.size < 1 MiB", 1e6, 2**20, True),
        ("m.size <= 1000kB", 1e6, 1e6, True),
        ("a.x > 50 %", 2, 0.5, True),
        ("a.x > 1.5e3 ms", 2, 1.5, True),
        ("a.x < 1 min", 2, 60, True),
        ("a.x > .5", 2, 0.5, True),
        ("a.x > 5e-1", 2, 0.5, True),
    ],
)
def test_gates_compute(text: str, left: float, right: float, holds: bool) -> None:
    found = evaluate(text)
    assert found[:2] == pytest.approx((left, right))
    assert found[2] is holds


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("a.x", 3),
        ("a.x <=", 6),
        ("a.x <= 3 <= 4", 9),
        ("  a.x = 3", 6),
        ("a.x <= 3 furlongs", 9),
        ("(a.x <= 3", 5),
        ("a.x <= 3)", 8),
        ("a.x + <= 3", 6),
        ("a.x <= b", 7),
        ("a.x <= é", 7),
        ("a.x <= 3 4", 9),
        ("* a.x < 3", 0),
        ("a.x << 3", 5),
    ],
)
def test_errors_know_their_place(text: str, offset: int) -> None:
    with pytest.raises(GateSyntaxError) as caught:
        parse(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize("text", ["(" * 100_000, "-" * 100_000, "1+" * 100_000 + "1 < 2"])
def test_a_hostile_gate_is_refused(text: str) -> None:
    with pytest.raises(GateSyntaxError, match="too long"):
        parse(text)


def test_the_longest_gates_need_no_deep_stack() -> None:
    assert evaluate("-" * 150 + "a.x < 3") == (2, 3, True)
    assert evaluate("(" * 90 + "a.x" + ")" * 90 + "< 3") == (2, 3, True)
    assert evaluate("a.x" + "+1" * 90 + "< 3") == (92, 3, False)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab.x[]<>=+-*/() 12%é", max_size=30))
def test_any_text_is_a_gate_or_an_error_inside_it(text: str) -> None:
    offset = 0
    try:
        parse(text)
    except GateSyntaxError as error:
        offset = error.offset
    assert 0 <= offset <= len(text)


def test_a_division_by_zero_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate("a.x / 0 < 1")


@pytest.mark.parametrize("text", ["a", "a.b", "a[x].b", "a[x=1,y=2].b.c", "_a-1"])
def test_references_show_as_they_are_written(text: str) -> None:
    assert str(Ref.parse(text)) == text


@pytest.mark.parametrize("text", ["", ".", "a.", "1a", "a[", "a]b", "a..b", "a b", "a[x]]"])
def test_what_is_no_reference(text: str) -> None:
    assert Ref.parse(text) is None


def test_distances_for_people() -> None:
    assert by_how_much(0.971, 0.975, "fraction") == "0.40 points"
    assert by_how_much(1.5e6, 1e6, "bytes") == "500 kB"
