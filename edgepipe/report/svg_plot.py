"""Plots as SVG: models by size, latency and accuracy; and the curves of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgepipe.report.markup import Html, el, trim
from edgepipe.report.text import clean, shorten, width

COLORS = 8
"""How many colors the style sheet has; after the last one they start again."""
Format = Callable[[float], str]


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels, linearly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        a, b, v = (math.log(z) if self.log else z for z in (self.low, self.high, value))
        return self.start + (v - a) / (b - a) * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """Round values: multiples of 1, 2 or 5 times a power of ten."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                ticks = [m * 10.0**p for p in powers for m in steps]
                ticks = [t for t in ticks if self.low <= t <= self.high]
                if len(ticks) <= wanted:
                    return ticks
            return ticks
        raw = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def axis(values: Sequence[float], start: float, end: float, room: float = 0.08) -> Axis:
    """An axis for ``values`` with ``room`` on both sides; logarithmic if they span a factor of 8."""
    low, high = min(values), max(values)
    if low > 0 and high / low > 8:
        more = (high / low) ** room
        return Axis(low / more, high * more, start, end, log=True)
    more = (high - low) * room or abs(high) * 0.1 or 1.0
    return Axis(low - more, high + more, start, end)


@dataclass(frozen=True)
class Point:
    """A model in a plot. ``weight`` is what its area stands for, ``color`` counts from 0."""

    name: str
    x: float
    y: float
    weight: float
    color: int
    tip: str
    strong: bool = False
    labelled: bool = True


@dataclass(frozen=True)
class Size:
    """Of a plot, in pixels, with the space that its axes take at the left and below."""

    width: float
    height: float
    left: float = 62.0
    below: float = 44.0


def scatter(
    points: Sequence[Point], size: Size, x_title: str, y_title: str, x_show: Format, y_show: Format
) -> Html:
    """Bubbles with labels that do not collide, and the front of the best ``y`` for each ``x``."""
    right, top = 18.0, 26.0
    xs = axis([p.x for p in points], size.left, size.width - right, 0.12)
    ys = axis([p.y for p in points], size.height - size.below, top, 0.14)
    if ys.high > 1 >= max(p.y for p in points):
        ys = Axis(ys.low, max(1.0, max(p.y for p in points) * 1.0005), ys.start, ys.end)
    heaviest = max(p.weight for p in points) or 1.0
    circles = [
        (xs(p.x), ys(p.y), 4.5 + 10.5 * math.sqrt(max(p.weight, 0) / heaviest)) for p in points
    ]
    order = sorted(range(len(points)), key=lambda i: -circles[i][2])
    bubbles = [
        el(
            "circle",
            cx=circles[i][0],
            cy=circles[i][1],
            r=circles[i][2],
            class_=f"bubble c{points[i].color % COLORS}",
            tabindex=0,
            role="img",
            aria_label=points[i].tip,
            data_tip=points[i].tip,
        )
        for i in order
    ]
    box = (size.left, top, size.width - 4, size.height - size.below)
    return el(
        "svg",
        _axes(xs, ys, size, x_title, y_title, x_show, y_show),
        _front(points, xs, ys),
        bubbles,
        _labels(points, circles, box),
        class_="plot",
        role="group",
        aria_label=f"{y_title} by {x_title}",
        viewBox=f"0 0 {size.width:.0f} {size.height:.0f}",
    )


def _axes(
    xs: Axis, ys: Axis, size: Size, x_title: str, y_title: str, x_show: Format, y_show: Format
) -> list[Html]:
    parts = []
    for tick in xs.ticks(max(3, int(size.width / 68))):
        x = xs(tick)
        parts.append(el("path", class_="grid", d=f"M{trim(x)} {trim(ys.end)}V{trim(ys.start)}"))
        parts.append(el("text", x_show(tick), class_="tick mid", x=x, y=ys.start + 16))
    for tick in ys.ticks(max(3, int(size.height / 60))):
        y = ys(tick)
        parts.append(el("path", class_="grid", d=f"M{trim(xs.start)} {trim(y)}H{trim(xs.end)}"))
        parts.append(el("text", y_show(tick), class_="tick end", x=xs.start - 7, y=y + 4))
    if x_title:
        middle = (xs.start + xs.end) / 2
        parts.append(el("text", x_title, class_="title mid", x=middle, y=size.height - 8))
    if y_title:
        parts.append(el("text", y_title, class_="title", x=2, y=13))
    return parts


def _front(points: Sequence[Point], xs: Axis, ys: Axis) -> Html | None:
    best = -math.inf
    steps: list[tuple[float, float]] = []
    for p in sorted(points, key=lambda p: (p.x, -p.y)):
        if p.y > best:
            steps.append((xs(p.x), ys(p.y)))
            best = p.y
    if len(points) < 2:
        return None
    path = "".join(
        f"M{trim(x)} {trim(y)}" if not i else f"H{trim(x)}V{trim(y)}"
        for i, (x, y) in enumerate(steps)
    )
    return el("path", class_="front", d=f"{path}H{trim(xs.end)}")


Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _labels(
    points: Sequence[Point], circles: Sequence[tuple[float, float, float]], bounds: Box
) -> list[Html]:
    """A label beside each bubble where there is room, with a line to it where it is far."""
    taken: list[Box] = [(x - r, y - r, x + r, y + r) for x, y, r in circles]
    parts = []
    labelled = [i for i, point in enumerate(points) if point.labelled]
    for i in sorted(labelled, key=lambda i: (not points[i].strong, points[i].x)):
        x, y, r = circles[i]
        text = shorten(clean(points[i].name), 24)
        wide, high = 6.7 * width(text) + 4, 15.0
        for far in (3.0, 12.0, 24.0, 38.0, 54.0, 72.0):
            spots = [
                (math.cos(turn), math.sin(turn))
                for turn in (math.pi * k / 8 for k in (12, 4, 14, 2, 10, 6, 0, 8, 15, 1, 9, 7))
            ]
            boxes = [
                _beside(x + (r + far) * a, y + (r + far) * b, a, b, wide, high) for a, b in spots
            ]
            free = [
                b for b in boxes if _inside(b, bounds) and not any(_overlap(b, t) for t in taken)
            ]
            if free:
                break
        else:
            continue
        left, top, right, bottom = free[0]
        taken.append(free[0])
        if far > 3:
            nearest = min(max(x, left), right), min(max(y, top + 3), bottom - 3)
            distance = math.dist(nearest, (x, y)) or 1.0
            ax, ay = x + (nearest[0] - x) * r / distance, y + (nearest[1] - y) * r / distance
            line = f"M{trim(ax)} {trim(ay)}L{trim(nearest[0])} {trim(nearest[1])}"
            parts.append(el("path", class_="leader", d=line))
        class_ = "label strong" if points[i].strong else "label"
        parts.append(el("text", text, class_=class_, x=left + 2, y=bottom - 4))
    return parts


def _beside(x: float, y: float, a: float, b: float, wide: float, high: float) -> Box:
    """The box that touches (x, y) on the side that looks against the direction (a, b)."""
    left = x - wide * (1 - a) / 2
    top = y - high * (1 - b) / 2
    return left, top, left + wide, top + high


def _inside(box: Box, bounds: Box) -> bool:
    return (
        box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
    )


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@dataclass(frozen=True)
class Curve:
    """One node's values over the steps of its training."""

    node: str
    color: int
    x: Sequence[float]
    y: Sequence[float]


def curves(name: str, lines: Sequence[Curve], size: Size, y_show: Format) -> Html:
    """The curves of one quantity, several nodes in one plot; a loss that falls far by its log."""
    places = [v for line in lines for v in line.x]
    values = [v for line in lines for v in line.y]
    low, high = min(places), max(places)
    xs = Axis(low, high if high > low else low + 1, size.left, size.width - 14)
    ys = axis(values, size.height - size.below, 14, 0.06)
    if ys.log and not (name.endswith("loss") and max(values) > 30 * min(values)):
        ys = Axis(0.0, max(values) * 1.06, ys.start, ys.end)
    parts = []
    for line in lines:
        x, y = _thin(line.x, line.y)
        path = "L".join(f"{trim(xs(a))} {trim(ys(b))}" for a, b in zip(x, y, strict=True))
        color = f"c{line.color % COLORS}"
        parts.append(el("path", class_=f"curve {color}", d=f"M{path}"))
        tip = f"{line.node}: {name} {y_show(line.y[-1])} at {line.x[-1]:g}"
        parts.append(
            el("circle", class_=f"dot {color}", cx=xs(x[-1]), cy=ys(y[-1]), r=3.5, data_tip=tip)
        )
    return el(
        "svg",
        _axes(xs, ys, size, "", "", lambda v: f"{v:g}", y_show),
        parts,
        class_="plot",
        role="img",
        aria_label=f"{name} of {', '.join(line.node for line in lines)}",
        viewBox=f"0 0 {size.width:.0f} {size.height:.0f}",
    )


def _thin(
    x: Sequence[float], y: Sequence[float], keep: int = 160
) -> tuple[list[float], list[float]]:
    """At most about ``keep`` points: the lowest and the highest of each stretch, and both ends."""
    if len(x) <= keep:
        return list(x), list(y)
    stride = math.ceil(2 * len(x) / keep)
    chosen = {0, len(x) - 1}
    for start in range(0, len(x), stride):
        stretch = range(start, min(start + stride, len(x)))
        chosen |= {min(stretch, key=y.__getitem__), max(stretch, key=y.__getitem__)}
    return [x[i] for i in sorted(chosen)], [y[i] for i in sorted(chosen)]
