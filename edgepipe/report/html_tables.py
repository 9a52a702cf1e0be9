"""The tables of the HTML page: measured models, and all nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from edgepipe.report.figures import label, metric, number
from edgepipe.report.lineage import Lineage, Model, disturbances
from edgepipe.report.markup import Child, Html, el
from edgepipe.report.rows import SHOWN, model_row
from edgepipe.results import NodeResult, OutputResult, RunResult
from edgepipe.units import seconds, show


def models(lineage: Lineage) -> Html | None:
    """One row a measured model, and why a measurement was noisy."""
    if not lineage.models:
        return None
    base = lineage.baseline
    heads = [
        ("model", "text"), ("runtime", "text"), ("accuracy", ""), ("points", ""), ("size", ""),
        ("smaller", ""), ("p50", ""), ("faster", ""), ("p90", ""), ("p99", ""), ("2t p50", ""),
        ("2t p99", ""), ("memory", ""), ("MACs", ""), ("params", ""), ("slow calls", ""),
    ]  # fmt: skip
    extra = sorted(
        {
            name
            for model in lineage.models
            for name in model.bench.metrics
            if name not in SHOWN and number(model.bench, name) is not None
        }
    )
    heads += [(label(name), "") for name in extra]
    noisy = [(m.name, reasons) for m in lineage.models if (reasons := disturbances(m.bench))]
    about = f"Compared with {base.name}. " if base and len(lineage.models) > 1 else ""
    return el(
        "section",
        el("h2", "Measured models"),
        el(
            "p",
            about,
            "★ no other model is at least as good in accuracy, size and latency at once. ",
            "Latency is of one image, with one thread; 2t: with two.",
            class_="note",
        ),
        table(heads, [_model(model, base, extra) for model in lineage.models], "measured models"),
        [
            el("p", el("b", "Noisy: "), f"{name}: {'; '.join(reasons)}", class_="note warn")
            for name, reasons in noisy
        ],
    )


def _model(model: Model, base: Model | None, extra: Sequence[str]) -> Html:
    star, name, accuracy, gain, size, smaller, p50, faster, *_ = model_row(model, base)
    bench = model.bench
    measured = [
        "latency_p90", "latency_p99", "latency_2t_p50", "latency_2t_p99", "peak_memory_bytes",
        "macs", "parameters", "noise", *extra,
    ]  # fmt: skip
    other = base if base is not model else None
    return el(
        "tr",
        el("th", el("span", star, class_="star") if star else None, " " if star else None, name,
           class_="text", scope="row", data_v=name, data_tip=name),
        el("td", model.runtime, class_="text"),
        cell(accuracy, model.accuracy),
        cell(gain, _minus(model.accuracy, other.accuracy if other else None), "delta"),
        cell(size, model.size),
        cell(smaller, _ratio(other.size if other else None, model.size), "delta"),
        cell(p50, model.latency),
        cell(faster, _ratio(other.latency if other else None, model.latency), "delta"),
        [cell(metric(bench, name), number(bench, name)) for name in measured],
    )  # fmt: skip


def _minus(new: float | None, old: float | None) -> float | None:
    return None if new is None or old is None else new - old


def _ratio(old: float | None, new: float | None) -> float | None:
    return None if old is None or not new else old / new


def nodes(result: RunResult, lineage: Lineage, anchors: Mapping[str, str]) -> Html:
    """One row a node: what it cost, why it ran, what it took and made."""
    heads = [
        ("node", "text"), ("status", "text"), ("time", ""), ("CPU time", ""), ("peak memory", ""),
        ("accuracy", ""), ("why it ran", "text"), ("kind", "text"), ("key", "text"),
        ("details", "text"),
    ]  # fmt: skip
    cached = sum(node.status == "cached" for node in result.nodes)
    note = f"{cached} of {len(result.nodes)} came from the cache; their times are of the run that made them."
    rows = [_node(node, lineage, anchors[node.name]) for node in result.nodes]
    return el(
        "section",
        el("h2", "Nodes"),
        el("p", note, class_="note") if cached else None,
        table(heads, rows, "nodes"),
    )


def _node(node: NodeResult, lineage: Lineage, anchor: str) -> Html:
    ran = node.status != "skipped"
    accuracy = lineage.accuracy(node)
    return el(
        "tr",
        el("th", node.name, class_="text", scope="row", data_v=node.name, data_tip=node.name),
        el("td", node.status, class_=f"text {node.status}"),
        cell(seconds(node.seconds) if ran else "", node.seconds if ran else None),
        cell(seconds(node.cpu_seconds) if ran else "", node.cpu_seconds if ran else None),
        cell(show(node.peak_memory, "bytes") if node.peak_memory else "", node.peak_memory or None),
        cell("" if accuracy is None else show(accuracy, "fraction"), accuracy),
        el("td", node.reason, class_="text wrap"),
        el("td", node.kind, class_="text"),
        el("td", el("code", node.key[:12]), class_="text"),
        el("td", _details(node), class_="wide"),
        id=anchor,
    )


def _details(node: NodeResult) -> Html | None:
    params = {name: _plain(value) for name, value in node.params.items()}
    outputs = {port: _output(output) for port, output in node.outputs.items()}
    metrics = {label(name): metric(node, name) for name in node.metrics}
    groups = {
        "parameters": params, "inputs": node.inputs, "outputs": outputs, "metrics": metrics,
        "files": {"log": link(node.log)} if node.log else {},
    }  # fmt: skip
    told = {name: group for name, group in groups.items() if group}
    if not told:
        return None
    return el(
        "details",
        el("summary", "show"),
        [[el("h3", name), pairs(group)] for name, group in told.items()],
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _output(output: OutputResult) -> str:
    return f"{output.type}, {show(output.size, 'bytes')}, {output.digest[:12]}"


def pairs(values: Mapping[str, Any]) -> Html:
    """Names and values, one pair a line."""
    return el(
        "dl",
        [
            [el("dt", name), el("dd", value if isinstance(value, Html) else str(value))]
            for name, value in values.items()
        ],
    )


def link(path: str) -> Html:
    """A link to a file of the run; never to anything that is not a relative path."""
    return el("a", path, href="./" + quote(path.encode("utf-8", "replace")), class_="code")


def cell(text: str, value: float | None, class_: str | None = None) -> Html:
    """A cell with the value that its column is sorted by."""
    return el("td", text, class_=class_, data_v="" if value is None else repr(value))


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Html], name: str) -> Html:
    """A table that scrolls inside its own box, and is sorted by a click on a head."""
    row = [el("th", head, class_=class_ or None, scope="col") for head, class_ in heads]
    return scroll(
        el("table", el("thead", el("tr", row)), el("tbody", rows), class_="sortable"), name
    )


def scroll(child: Child, name: str) -> Html:
    """A box that scrolls sideways, by keyboard too."""
    return el("div", child, class_="scroll", tabindex=0, role="region", aria_label=name)
