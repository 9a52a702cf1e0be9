"""A run as Markdown, for the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgepipe.report.figures import gate_values, headline, metric
from edgepipe.report.lineage import Lineage, disturbances
from edgepipe.report.rows import SPREAD, bought, model_row, stage_row
from edgepipe.report.text import clean
from edgepipe.results import RunResult

_SIGNS = {"done": "✓", "interrupted": "–"}


def render(result: RunResult) -> str:
    """Headings and tables, in GitHub's dialect. Whatever the run holds is escaped."""
    lineage = Lineage(result)
    sign = _SIGNS.get(result.status, "✗")
    parts = [f"## {sign} {escape(result.pipeline)}", escape(" · ".join(headline(result)))]
    parts += [
        f"**{word.capitalize()}**: {escape(model.name)}, against {escape(base.name)} "
        + escape(", ".join(bought(model, base)))
        for word, model in lineage.featured().items()
        if (base := lineage.baseline)
    ]
    parts += _failures(result)
    if result.gates:
        rows = [["✓" if g.passed else "✗", g.text, gate_values(g)] for g in result.gates]
        parts += ["### Gates", table(["", "gate", "values"], "lll", rows)]
    if lineage.models:
        heads = ["", "model", "accuracy", "points", "size", "smaller", "p50", "faster",
                 "2t p50", "memory", "MACs", "params"]  # fmt: skip
        rows = [model_row(model, lineage.baseline) for model in lineage.models]
        parts += ["### Measured models", table(heads, "ll" + "r" * 10, rows)]
        heads = ["model", "runtime", "min", "p50", "p90", "p99", "2t p50", "2t p90", "2t p99",
                 "CPU/wall", "slow calls", ""]  # fmt: skip
        rows = [
            [
                model.name,
                model.runtime,
                *(metric(model.bench, name) for name in SPREAD),
                "; ".join(disturbances(model.bench)),
            ]
            for model in lineage.models
        ]
        parts.append(folded("Latency", table(heads, "ll" + "r" * 9 + "l", rows)))
    heads = ["stage", "", "time", "size", "change", "accuracy", "points", "MACs", "change",
             "against"]  # fmt: skip
    rows = [stage_row(node, lineage) for node in result.nodes]
    parts.append(folded("Stages", table(heads, "llrrrrrrrl", rows)))
    return "\n\n".join(parts) + "\n"


def _failures(result: RunResult) -> list[str]:
    parts = []
    for node in result.nodes:
        if node.status == "failed":
            parts.append(f"### ✗ {escape(node.name)} failed")
            error = clean(node.error or "no reason was given", lines=True)
            parts.append("\n".join(f"    {line}" for line in error.splitlines()))
            parts += [f"log: {escape(node.log)}"] if node.log else []
    return parts


def escape(text: str) -> str:
    """``text`` so that Markdown shows it as it is: no markup, no HTML, no link, no mention."""
    text = re.sub(r"([\\`*_\[\]#|~$!])", r"\\\1", clean(text))
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), ("@", "&#64;"), ("://", "&#58;//")):
        text = text.replace(sign, entity)
    return text


def table(heads: Sequence[str], sides: str, rows: Sequence[Sequence[str]]) -> str:
    """A table; ``sides`` has an ``l`` or ``r`` for each column. Columns without a value go."""
    kept = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    lines = [
        [heads[i] for i in kept],
        ["--:" if sides[i] == "r" else ":--" for i in kept],
        *([escape(row[i]) for i in kept] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(title: str, body: str) -> str:
    """A part that opens on a click."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
