"""A run as one page of HTML that needs nothing else: no network, no library, no script to be read."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from string import Template

from edgepipe.report import html_plots, html_tables, svg_graph
from edgepipe.report.figures import gate_values, headline, points, times
from edgepipe.report.lineage import Lineage, Model
from edgepipe.report.markup import Html, el, join
from edgepipe.results import RunResult
from edgepipe.units import seconds, show

MOST_BOXES = 300
"""What an eye can still follow in a graph; a page draws no more."""


def render(result: RunResult) -> str:
    """The page. Whatever the run holds is escaped."""
    lineage = Lineage(result)
    anchors = {node.name: f"node-{i}" for i, node in enumerate(result.nodes)}
    body = join(
        _head(result),
        _failures(result, anchors),
        _cards(result, lineage),
        html_plots.models(lineage),
        html_tables.models(lineage),
        _gates(result),
        _graph(result, anchors),
        html_plots.training(result),
        html_tables.nodes(result, lineage, anchors),
        _environment(result),
    )
    folder = files("edgepipe.report")
    script = (folder / "report.js").read_text(encoding="utf-8")
    return Template((folder / "report.html").read_text(encoding="utf-8")).substitute(
        title=join(f"{result.pipeline} · edgepipe"),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        hash=b64encode(sha256(script.encode()).digest()).decode(),
        script=script,
        body=body,
    )


def _head(result: RunResult) -> Html:
    look = {"done": "done", "interrupted": "interrupted"}.get(result.status, "bad")
    status, *counts = headline(result)
    where = f"{result.started} · {result.file} · seed {result.seed} · run {result.id}"
    return el(
        "header",
        el(
            "div",
            el("h1", result.pipeline),
            el("span", result.status, class_=f"badge {look}"),
            class_="top",
        ),
        el("p", " · ".join([status, *counts])),
        el("p", where, class_="note"),
    )


def _failures(result: RunResult, anchors: dict[str, str]) -> Html | None:
    failed = [node for node in result.nodes if node.status == "failed"]
    if not failed:
        return None
    return el(
        "section",
        el("h2", "What failed"),
        [
            [
                el("h3", el("a", node.name, href=f"#{anchors[node.name]}")),
                el("pre", node.error or "no reason was given", class_="code"),
                el("p", "log: ", html_tables.link(node.log), class_="note") if node.log else None,
            ]
            for node in failed
        ],
        class_="error",
    )


def _cards(result: RunResult, lineage: Lineage) -> Html:
    cards = []
    base = lineage.baseline
    for word, model in lineage.featured().items():
        if base:
            cards += _gains(word, model, base)
    if result.gates:
        held = sum(gate.passed for gate in result.gates)
        missed = len(result.gates) - held
        cards.append(
            (
                f"{held} of {len(result.gates)}",
                "gates hold",
                f"{missed} missed" if missed else "none was missed",
            )
        )
    _, counts, *saved = headline(result)
    cards.append(
        (seconds(result.seconds), counts, saved[0] if saved else "the cache saved nothing")
    )
    return el(
        "div",
        [
            el(
                "div",
                el("b", figure),
                el("span", what, class_="what"),
                el("span", about),
                class_="card",
            )
            for figure, what, about in cards
        ],
        class_="cards",
    )


def _gains(word: str, model: Model, base: Model) -> list[tuple[str, str, str]]:
    """Cards of a model: how much smaller, how much faster, each with what it cost in accuracy."""
    cost = points(model.accuracy, base.accuracy)
    about = f"{model.name} against {base.name}" + (f", {cost} points of accuracy" if cost else "")
    cards = []
    if "smallest" in word:
        sizes = f"{show(base.size or 0, 'bytes')} → {show(model.size or 0, 'bytes')}"
        cards.append((times(base.size, model.size), f"smaller: {sizes}", about))
    if "fastest" in word:
        latencies = f"{seconds(base.latency or 0)} → {seconds(model.latency or 0)}"
        cards.append((times(base.latency, model.latency), f"faster: {latencies}", about))
    return cards


def _gates(result: RunResult) -> Html | None:
    if not result.gates:
        return None
    items = [
        el(
            "li",
            el(
                "b",
                "✓" if gate.passed else "✗",
                class_="ran" if gate.passed else "failed",
                role="img",
                aria_label="holds" if gate.passed else "does not hold",
            ),
            el("span", gate.text, class_="code"),
            el("small", gate_values(gate)),
        )
        for gate in result.gates
    ]
    return el("section", el("h2", "Gates"), el("ul", items, class_="plain gates"))


def _graph(result: RunResult, anchors: dict[str, str]) -> Html | None:
    if not result.nodes:
        return None
    if len({node.name.partition("[")[0] for node in result.nodes}) > MOST_BOXES:
        text = f"{len(result.nodes):,} nodes are too many to be drawn here: "
        command = el("code", f"edgepipe graph {result.file} --format dot")
        return el("section", el("h2", "Graph"), el("p", text, command, class_="note"))
    return el(
        "section",
        el("h2", "Graph"),
        el(
            "p",
            [
                el("span", f"{sign} {status}  ", class_=status)
                for status, sign in svg_graph.SIGNS.items()
                if any(node.status == status for node in result.nodes)
            ],
            "with the time it took, and the size of what it made",
            class_="note",
        ),
        html_tables.scroll(svg_graph.render(result, anchors), "graph of the pipeline"),
    )


def _environment(result: RunResult) -> Html:
    machine = {
        name: show(value, "bytes") if name == "memory" and isinstance(value, int | float) else value
        for name, value in result.machine.items()
    }
    return el(
        "section",
        el("h2", "Machine and versions"),
        html_tables.pairs({**machine, "edgepipe": result.edgepipe, **result.versions}),
    )
