"""A run's result as plain text: what each stage cost, what compression bought, which gates held.

No rich here: a run that finds everything cached prints this, and must cost milliseconds.
"""

from __future__ import annotations

from edgepipe.report.columns import Column, Text, layout
from edgepipe.report.figures import gate_values, headline, label, metric
from edgepipe.report.lineage import Lineage, disturbances
from edgepipe.report.rows import SPREAD, bought, model_row, other_metrics, stage_row
from edgepipe.report.text import clean, pad, shorten, to_ascii, width, wrap
from edgepipe.results import RunResult


def render(result: RunResult, columns: int = 100, unicode: bool = True) -> str:
    """The whole result.

    Args:
        result: the run.
        columns: width that is there; 100 shows everything, less leaves columns out.
        unicode: False spells all signs in ASCII.

    Returns:
        Lines, the last one ended too. No control characters, whatever the run holds.
    """
    text: Text = clean if unicode else lambda s: to_ascii(clean(s))
    lineage = Lineage(result)
    sections = [
        stages(result, lineage, columns, text),
        findings(result, lineage, columns, text),
        models(lineage, columns, text),
        latencies(lineage, columns, text),
        failures(result, text),
        gates(result, columns, text),
        verdict(result, lineage, columns, text),
    ]
    return "\n\n".join("\n".join(s) for s in sections if s) + "\n"


def stages(result: RunResult, lineage: Lineage, columns: int, text: Text) -> list[str]:
    """One row a node: what it cost, and how its model changed against what it was made from."""
    head = [
        Column("stage", right=False),
        Column("", right=False),
        Column("time"),
        Column("size"),
        Column("", drop=1, gap=1),
        Column("accuracy"),
        Column("points", gap=1),
        Column("MACs", drop=3),
        Column("", drop=3, gap=1),
        Column("against", right=False, drop=2),
    ]
    rows = [stage_row(node, lineage) for node in result.nodes]
    return layout(head, rows, columns, text)


def findings(result: RunResult, lineage: Lineage, columns: int, text: Text) -> list[str]:
    """The metrics that have no column: parity, operators, whatever a plug-in found."""
    rows = [(text(node.name), other_metrics(node)) for node in result.nodes]
    rows = [(name, found) for name, found in rows if found]
    room = min(28, max((width(name) for name, _ in rows), default=0))
    lines = []
    for name, found in rows:
        cells = [text(f"{label(m)} {value}") for m, value in found]
        parts = wrap(cells, room + 2, columns, text(" · "))
        lines.append(f"{pad(shorten(name, room, text('…')), room, False)}  {parts[0]}")
        lines += [f"{'':{room}}  {part}" for part in parts[1:]]
    return [text("also found"), *lines] if lines else []


def models(lineage: Lineage, columns: int, text: Text) -> list[str]:
    """The measured models, each against the baseline; a star marks the Pareto-best."""
    if not lineage.models:
        return []
    head = [
        Column("", right=False),
        Column("model", right=False, gap=1),
        Column("accuracy"),
        Column("points", gap=1),
        Column("size"),
        Column("less", gap=1),
        Column("p50"),
        Column("faster", gap=1),
        Column("2 threads", drop=2),
        Column("memory", drop=3),
        Column("MACs", drop=1),
        Column("params", drop=4),
    ]
    base = lineage.baseline
    rows = [model_row(model, base) for model in lineage.models]
    note = "a star is Pareto-best: none is better in accuracy, size and latency at once"
    about = [f"{base.name} is the baseline"] if base and len(rows) > 1 else []
    about += [note.replace("a star", text("★"))] if any(m.pareto for m in lineage.models) else []
    return layout(head, rows, columns, text) + wrap([text(a) for a in about], 0, columns, "; ")


def latencies(lineage: Lineage, columns: int, text: Text) -> list[str]:
    """The spread of each model's latency, and how noisy the measurement was."""
    measured = [m for m in lineage.models if m.latency is not None]
    head = [
        Column("latency", right=False),
        Column("runtime", right=False, drop=2),
        Column("min", drop=3),
        Column("p50"),
        Column("p90"),
        Column("p99"),
        Column("2t p50"),
        Column("2t p90", drop=1),
        Column("2t p99"),
        Column("CPU/wall", drop=4),
        Column("", right=False),
    ]
    rows = [
        [
            model.name,
            model.runtime,
            *(metric(model.bench, name) for name in SPREAD[:-1]),
            "noisy" if disturbances(model.bench) else "",
        ]
        for model in measured
    ]
    return layout(head, rows, columns, text)


def failures(result: RunResult, text: Text) -> list[str]:
    """Each failed node with its error and its log."""
    lines = []
    for node in result.nodes:
        if node.status == "failed":
            lines.append(f"{text('✗')} {text(node.name)} failed")
            error = node.error or "no reason was given"
            lines += [f"    {text(line)}" for line in error.splitlines()]
            lines += [f"    log: {text(node.log)}"] if node.log else []
    return lines


def gates(result: RunResult, columns: int, text: Text) -> list[str]:
    """Each gate with its two values, beside it or, where it is long, below."""
    rows = [
        (text("✓" if g.passed else "✗"), text(g.text), text(gate_values(g))) for g in result.gates
    ]
    room = max((width(sign) + width(gate) for sign, gate, _ in rows), default=0) + 3
    if room + max((width(values) for *_, values in rows), default=0) <= columns:
        return [pad(f"{sign} {gate}", room, False) + values for sign, gate, values in rows]
    return [line for sign, gate, values in rows for line in (f"{sign} {gate}", f"    {values}")]


def verdict(result: RunResult, lineage: Lineage, columns: int, text: Text) -> list[str]:
    """The last lines: what the smallest and the fastest model bought, and how the run ended."""
    lines = []
    for word, model in lineage.featured().items():
        if base := lineage.baseline:
            parts = bought(model, base)
            parts[0] = f"{word}: {model.name}, against {base.name} {parts[0]}"
            lines += wrap([text(part) for part in parts], 0, columns)
    ended = headline(result)
    ended[0] = f"{result.pipeline}: {ended[0]}"
    return lines + wrap([text(part) for part in ended], 0, columns, text(" · "))
