"""The graph of a run as SVG: one box a stage, the variants of a matrix as its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgepipe.report.layers import draw
from edgepipe.report.lineage import main_output
from edgepipe.report.markup import Html, el
from edgepipe.report.text import clean, shorten
from edgepipe.results import NodeResult, RunResult
from edgepipe.units import seconds, show

WIDTH = 196.0
HEAD = 38.0
LINE = 18.0
ROWS = 8
"""Variants that a box lists; failures come first, the others are counted."""
MARGIN = 10.0
SIGNS = {"ran": "✓", "cached": "=", "failed": "✗", "skipped": "–"}
_WORST = ("failed", "skipped", "ran", "cached")


def render(result: RunResult, anchors: Mapping[str, str]) -> Html:
    """The graph.

    Args:
        result: the run.
        anchors: id of the place on the page that tells more about a node, by its name.
    """
    groups = group(result.nodes)
    owner = {node.name: name for name, nodes in groups.items() for node in nodes}
    edges = [
        (owner[source], owner[node.name])
        for node in result.nodes
        for source in (feed.rpartition(".")[0] for feed in node.inputs.values())
        if source in owner
    ]
    sizes = {
        name: (WIDTH, HEAD + LINE * min(len(nodes), ROWS + 1) + 6) for name, nodes in groups.items()
    }
    drawing = draw(sizes, edges)
    lines = [el("path", class_="edge", d=path) for path in drawing.edges.values()]
    boxes = [_box(name, groups[name], drawing.boxes[name], anchors) for name in groups]
    return el(
        "svg",
        el("g", lines, boxes, transform=f"translate({MARGIN:.0f} {MARGIN:.0f})"),
        class_="graph",
        role="group",
        aria_label=f"graph of {len(result.nodes)} nodes",
        viewBox=f"0 0 {drawing.width + 2 * MARGIN:.0f} {drawing.height + 2 * MARGIN:.0f}",
        width=round(drawing.width + 2 * MARGIN),
        height=round(drawing.height + 2 * MARGIN),
    )


def group(nodes: Sequence[NodeResult]) -> dict[str, list[NodeResult]]:
    """Nodes by the stage that they are variants of: ``tflite[int8]`` belongs to ``tflite``."""
    groups: dict[str, list[NodeResult]] = {}
    for node in nodes:
        base = node.name.partition("[")[0] if node.name.endswith("]") else node.name
        groups.setdefault(base, []).append(node)
    return groups


def _box(
    name: str, nodes: list[NodeResult], place: tuple[float, float], anchors: Mapping[str, str]
) -> Html:
    x, y = place
    worst = min((node.status for node in nodes), key=_WORST.index)
    shown = nodes
    more = None
    if len(nodes) > ROWS + 1:
        shown = sorted(nodes, key=lambda node: _WORST.index(node.status))[:ROWS]
        rest = len(nodes) - ROWS
        more = el("text", f"and {rest} more", class_="quiet", x=14, y=HEAD + LINE * ROWS + 10)
    height = HEAD + LINE * min(len(nodes), ROWS + 1) + 6
    title = clean(name if len(nodes) > 1 else nodes[0].name)
    return el(
        "g",
        el("rect", class_="box", width=WIDTH, height=height, rx=7),
        el("rect", class_=f"mark {worst}", x=0, y=7, width=4, height=height - 14, rx=2),
        el("text", shorten(title, 21), class_="name", x=14, y=19),
        el("text", shorten(clean(nodes[0].kind), 28), class_="quiet", x=14, y=33),
        [_row(node, i, len(nodes) > 1, anchors) for i, node in enumerate(shown)],
        more,
        transform=f"translate({x:.1f} {y:.1f})",
    )


def _row(node: NodeResult, i: int, variant: bool, anchors: Mapping[str, str]) -> Html:
    y = HEAD + LINE * i + 10
    output = main_output(node)
    parts = [] if node.status == "skipped" else [seconds(node.seconds)]
    parts += [show(output.size, "bytes")] if output else []
    name = node.name[len(node.name.partition("[")[0]) + 1 : -1] if variant else node.status
    row = [
        el("text", SIGNS[node.status], class_=f"sign {node.status}", x=14, y=y),
        el("text", shorten(clean(name), 8), x=28, y=y),
        el("text", " · ".join(parts), class_="value", x=WIDTH - 10, y=y),
    ]
    tip = f"{node.name}: {node.status}" + (f", {', '.join(parts)}" if parts else "")
    return el("a", row, href=f"#{anchors[node.name]}", aria_label=tip, data_tip=tip)
