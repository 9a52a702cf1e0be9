"""The plots of the HTML page: models by size, latency and accuracy; training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgepipe.report.figures import label, unit_of
from edgepipe.report.lineage import Lineage, Model
from edgepipe.report.markup import Html, el
from edgepipe.report.svg_plot import COLORS, Curve, Point, Size, curves, scatter
from edgepipe.results import NodeResult, RunResult
from edgepipe.units import seconds, show

SIZES = {"large": Size(1080, 430), "small": Size(340, 330, left=50)}
CURVE = Size(340, 210, left=52, below=26)
MOST_CURVES = 12
MOST_LABELS = 20
"""Of more models, only the Pareto-best are labelled."""


def models(lineage: Lineage) -> Html | None:
    """Accuracy by size, and by latency: two plots of which one is shown."""
    measured = [m for m in lineage.models if m.accuracy is not None and m.size and m.latency]
    if not measured:
        return None
    runtimes = list(dict.fromkeys(m.runtime for m in measured))
    legend = [
        el("li", el("i", class_=f"c{i % COLORS}"), runtime) for i, runtime in enumerate(runtimes)
    ]
    views = [
        _view(lineage, measured, runtimes, by_size=by_size, class_=f"by-{i}")
        for i, by_size in enumerate((True, False))
    ]
    return el(
        "section",
        el("h2", "Accuracy, size and latency"),
        el("ul", legend, class_="legend"),
        el(
            "div",
            el("input", type="radio", name="view", id="view-size", checked=True),
            el("label", "by size", for_="view-size"),
            el("input", type="radio", name="view", id="view-latency"),
            el("label", "by latency", for_="view-latency"),
            views,
            class_="toggle",
        ),
    )


def _view(
    lineage: Lineage, measured: list[Model], runtimes: list[str], *, by_size: bool, class_: str
) -> Html:
    featured = list(lineage.featured().values())
    points = []
    for model in measured:
        size, latency, accuracy = model.size or 0, model.latency or 0, model.accuracy or 0
        x, weight = (size, latency) if by_size else (latency, size)
        tip = ", ".join(
            (model.name, show(accuracy, "fraction"), show(size, "bytes"), seconds(latency))
        )
        strong = model is lineage.baseline or model in featured
        color = runtimes.index(model.runtime)
        labelled = len(measured) <= MOST_LABELS or strong or model.pareto
        points.append(Point(model.name, x, accuracy, weight, color, tip, strong, labelled))
    title = "size of the file" if by_size else "latency, p50 of one image, one thread"
    plots = [
        el("div", scatter(points, size, title, "accuracy", _bytes if by_size else _seconds, _percent),
           class_=name)
        for name, size in SIZES.items()
    ]  # fmt: skip
    area = "latency" if by_size else "size"
    note = f"A bubble's area is the {area}; the dashed line is the best accuracy at each place."
    if len(measured) > MOST_LABELS:
        note += " Labels are of the Pareto-best; point at a bubble for the others."
    return el("div", plots, el("p", note, class_="note"), class_=class_)


def _bytes(value: float) -> str:
    return _round(value, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)))


def _seconds(value: float) -> str:
    return _round(value, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)))


def _round(value: float, units: tuple[tuple[str, float], ...]) -> str:
    name, unit = next((u for u in units if abs(value) >= u[1] * 0.999), units[-1])
    return f"{value / unit:.4g} {name}"


def _percent(value: float) -> str:
    return f"{value * 100:.4g} %"


def training(result: RunResult) -> Html | None:
    """A plot for each quantity that several trainings have in common, or one alone has."""
    found: dict[str, list[tuple[NodeResult, list[float], list[float]]]] = {}
    for node in result.nodes:
        for name, x, y in curves_of(node):
            found.setdefault(name, []).append((node, x, y))
    if not found:
        return None
    owners = list(dict.fromkeys(n.name for lines in found.values() for n, _, _ in lines))
    colors = {name: i for i, name in enumerate(owners)}
    legend = [
        el("li", el("i", class_=f"c{i % COLORS}"), name)
        for name, i in list(colors.items())[:MOST_CURVES]
    ]
    left = len(owners) - MOST_CURVES
    plots = []
    for name, lines in sorted(found.items(), key=_importance):
        drawn = [
            Curve(node.name, colors[node.name], x, y)
            for node, x, y in lines
            if colors[node.name] < MOST_CURVES
        ]
        if not drawn:
            continue
        fraction = unit_of(name, {}) == "fraction"
        plot = curves(name, drawn, CURVE, _percent if fraction else _number)
        plots.append(el("div", el("h3", label(name)), plot))
    return el(
        "section",
        el("h2", "Training"),
        el("ul", legend, class_="legend"),
        el("p", f"and {left} more nodes, which are not drawn", class_="note") if left > 0 else None,
        el("div", plots, class_="curves"),
    )


def _importance(found: tuple[str, object]) -> tuple[bool, bool, str]:
    """Losses first, how fast it learned last."""
    return found[0] == "learning_rate", not found[0].endswith("loss"), found[0]


def _number(value: float) -> str:
    return f"{value:.3g}"


def curves_of(node: NodeResult) -> list[tuple[str, list[float], list[float]]]:
    """A node's curves: name, x and y. What is no curve is left out, and so are gaps in one."""
    found = []
    for detail in node.details.values():
        named = detail.get("curves") if isinstance(detail, Mapping) else None
        for name, curve in (named if isinstance(named, Mapping) else {}).items():
            if not isinstance(curve, Mapping):
                continue
            x, y = curve.get("x"), curve.get("y")
            if not isinstance(x, list | tuple) or not isinstance(y, list | tuple):
                continue
            places = [(a, b) for a, b in zip(x, y, strict=False) if _finite(a) and _finite(b)]
            if places:
                found.append((name, [a for a, _ in places], [b for _, b in places]))
    return found


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
