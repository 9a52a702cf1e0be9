from __future__ import annotations

import math
import random
import re

import pytest

from edgepipe.report.html_plots import curves_of
from edgepipe.report.svg_plot import Axis, Curve, Point, Size, axis, curves, scatter
from edgepipe.results import NodeResult

SIZE = Size(700, 400)


def point(name: str, x: float, y: float, weight: float = 1.0) -> Point:
    return Point(name, x, y, weight, 0, f"about {name}")


def plot(points: list[Point], size: Size = SIZE) -> str:
    return scatter(points, size, "size", "accuracy", lambda v: f"{v:g} B", lambda v: f"{v:g}")


def labels(svg: str) -> list[tuple[float, float, float, float]]:
    found = re.findall(r'<text class="label[^"]*" x="([\d.]+)" y="([\d.]+)">([^<]*)<', svg)
    return [(float(x), float(y) - 10, float(x) + 6.4 * len(text), float(y)) for x, y, text in found]


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0.0, 1.0, False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (98.61, 99.33, False, [98.8, 99.0, 99.2]),
        (1e5, 2e6, True, [1e5, 2e5, 5e5, 1e6, 2e6]),
        (3e-6, 3e-1, True, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 100, log).ticks(5) == pytest.approx(ticks)


def test_many_decades_still_get_few_ticks() -> None:
    assert len(Axis(1e-9, 1e9, 0, 100, log=True).ticks(4)) == 19, "one a decade at most"


def test_axes_map_ends_to_ends_and_keep_room() -> None:
    linear = axis([1.0, 2.0], 0, 100, 0.1)
    assert (linear(0.9), linear(2.1)) == pytest.approx((0, 100))
    assert not linear.log
    logarithmic = axis([1.0, 100.0], 100, 0, 0.0)
    assert (logarithmic(1), logarithmic(10), logarithmic(100)) == pytest.approx((100, 50, 0))
    for one in ([5.0], [0.0], [-3.0, -3.0]):
        ends = axis(one, 0, 100)
        assert 0 < ends(one[0]) < 100


def test_labels_do_not_collide() -> None:
    rng = random.Random(7)
    points = [
        point(f"model[{i}]", 1e5 * 10 ** rng.random(), 0.97 + 0.02 * rng.random(), rng.random())
        for i in range(14)
    ]
    for size in (SIZE, Size(340, 330)):
        boxes = labels(plot(points, size))
        assert len(boxes) >= 12
        for i, a in enumerate(boxes):
            assert a[0] >= 0
            assert a[2] <= size.width
            for b in boxes[i + 1 :]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_models_at_one_place_get_lines_to_their_labels() -> None:
    svg = plot([point(f"model[{i}]", 1e5, 0.98) for i in range(14)])
    assert len(labels(svg)) > 6
    assert "leader" in svg


def test_the_front_climbs() -> None:
    svg = plot([point("a", 100, 0.9), point("b", 200, 0.95), point("c", 300, 0.93)])
    found = re.search(r'class="front" d="M[\d.]+ ([\d.]+)H[\d.]+V([\d.]+)H', svg)
    assert found is not None
    assert float(found[1]) > float(found[2]), "up is a smaller y"
    assert "front" not in plot([point("alone", 1, 1)])


def test_areas_are_as_the_weights() -> None:
    svg = plot([point("a", 1, 1, 4.0), point("b", 2, 2, 1.0), point("c", 3, 3, -1.0)])
    radii = [float(r) for r in re.findall(r' r="([\d.]+)"', svg)]
    assert radii == [15.0, pytest.approx(9.75, abs=0.1), 4.5]


def test_accuracy_never_shows_more_than_all() -> None:
    svg = plot([point("a", 1, 0.999), point("b", 2, 0.93)])
    ticks = [float(t) for t in re.findall(r'class="tick end"[^>]*>([\d.]+)<', svg)]
    assert max(ticks) <= 1.0


def test_long_curves_keep_their_extremes() -> None:
    x = [float(i) for i in range(5000)]
    y = [math.sin(i / 50) for i in range(5000)]
    y[2345] = 9.0
    svg = curves("loss", [Curve("a", 0, x, y)], Size(340, 200), str)
    (path,) = re.findall(r'class="curve c0" d="M([^"]*)"', svg)
    places = [tuple(map(float, p.split())) for p in path.split("L")]
    assert 100 < len(places) <= 170
    top = min(b for _, b in places)
    assert sum(b == top for _, b in places) == 1


@pytest.mark.parametrize(
    ("x", "y"),
    [([1], [0.5]), ([1, 2], [0.5, 0.5]), ([1, 2, 3], [1e-9, 1.0, 1e3]), ([0, 1], [0.0, -5.0])],
)
def test_any_curve_is_drawn_inside_the_plot(x: list[float], y: list[float]) -> None:
    svg = curves("loss", [Curve("a", 9, x, y)], Size(340, 200), lambda v: f"{v:g}")
    (path,) = re.findall(r'class="curve c1" d="M([^"]*)"', svg)
    for place in path.split("L"):
        a, b = map(float, place.split())
        assert 0 <= a <= 340
        assert 0 <= b <= 200


def test_what_is_no_curve_is_left_out() -> None:
    nan = float("nan")
    details = {
        "a": {"curves": {"loss": {"x": [1, 2, 3, 4], "y": [0.5, nan, None, 0.1]}}},
        "b": {"curves": {"text": "x", "no y": {"x": [1]}, "empty": {"x": [], "y": []}}},
        "c": {"curves": [1, 2]},
        "d": "text",
    }
    node = NodeResult("n", "k.k", "ran", details=details)
    assert curves_of(node) == [("loss", [1, 4], [0.5, 0.1])]


def test_only_a_loss_that_falls_far_is_drawn_by_its_logarithm() -> None:
    line = Curve("a", 0, [1, 2, 3], [1e-5, 1e-3, 1.0])

    def ticks(name: str) -> list[str]:
        svg = curves(name, [line], Size(340, 200), lambda v: f"{v:g}")
        return re.findall(r'class="tick end"[^>]*>([^<]*)<', svg)

    assert ticks("distillation_loss") == ["1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]
    assert ticks("learning_rate") == ["0", "0.5", "1"]
