"""The cells of the reports' tables, as text: what each stage cost, what each model is worth."""

from __future__ import annotations

from edgepipe.report.figures import change, factor, metric, number, points, times
from edgepipe.report.lineage import Lineage, Model, is_benchmark, main_output
from edgepipe.results import NodeResult
from edgepipe.units import seconds, show

SPREAD = (
    "latency_min",
    "latency_p50",
    "latency_p90",
    "latency_p99",
    "latency_2t_p50",
    "latency_2t_p90",
    "latency_2t_p99",
    "cpu_per_wall",
    "noise",
)
"""The metrics of a latency measurement, in the order of the tables."""

SHOWN = frozenset(
    {
        "accuracy",
        "size_bytes",
        "peak_memory_bytes",
        "macs",
        "macs_before",
        "parameters",
        "latency_p50",
        "latency_p90",
        "latency_p99",
        "latency_min",
        "latency_2t_p50",
        "latency_2t_p90",
        "latency_2t_p99",
        "cpu_per_wall",
        "noise",
    }
)
"""Metrics that have a place of their own in the tables."""


def stage_row(node: NodeResult, lineage: Lineage) -> list[str]:
    """A node's cells: name, status, time, size, its change, accuracy, points, MACs, change, from."""
    row = [node.name, node.status, "" if node.status == "skipped" else seconds(node.seconds)]
    output = main_output(node)
    row.append(show(output.size, "bytes") if output else "")
    if is_benchmark(node) and lineage.made_from(node):
        return [*row, "", "", "", "", "", ""]
    reference = lineage.reference(node) if output else None
    made = main_output(reference) if reference else None
    accuracy = lineage.accuracy(node)
    macs = lineage.macs(node)
    before = (lineage.accuracy(reference), lineage.macs(reference)) if reference else (None, None)
    return [
        *row,
        change(output.size, made.size) if output and made else "",
        "" if accuracy is None else show(accuracy, "fraction"),
        points(accuracy, before[0]),
        "" if macs is None else show(macs, "count"),
        change(macs, before[1]) if macs != before[1] else "",
        reference.name if reference else "",
    ]


def other_metrics(node: NodeResult) -> list[tuple[str, str]]:
    """A node's metrics without those that the tables have a place for: name and value."""
    return [
        (name, metric(node, name))
        for name in node.metrics
        if name not in SHOWN and number(node, name) is not None
    ]


def model_row(model: Model, base: Model | None) -> list[str]:
    """A model's cells: star, name, accuracy, points, size, times less, p50, times faster and on."""
    bench = model.bench
    other = base if base and base is not model else None
    return [
        "★" if model.pareto else "",
        model.name,
        "" if model.accuracy is None else show(model.accuracy, "fraction"),
        points(model.accuracy, other.accuracy) if other else "",
        "" if model.size is None else show(model.size, "bytes"),
        times(other.size, model.size) if other else "",
        metric(bench, "latency_p50"),
        times(other.latency, model.latency) if other else "",
        metric(bench, "latency_2t_p50"),
        metric(bench, "peak_memory_bytes"),
        metric(bench, "macs"),
        metric(bench, "parameters"),
    ]


def bought(model: Model, base: Model) -> list[str]:
    """What a model has over the baseline: ``3.2× smaller``, ``2.1× faster``, ``−0.41 points``."""
    parts = [
        f"{factor(max(ratio, 1 / ratio))}× {less if ratio >= 1 else more}"
        for old, new, less, more in (
            (base.size, model.size, "smaller", "larger"),
            (base.latency, model.latency, "faster", "slower"),
        )
        if old and new and (ratio := old / new)
    ]
    change = points(model.accuracy, base.accuracy)
    return [*parts, f"{change} points of accuracy"] if change else parts
