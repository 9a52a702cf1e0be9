"""Numbers of a run as a person reads them: metrics, changes, ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgepipe.results import GateResult, NodeResult, RunResult
from edgepipe.units import seconds, show

_UNITS = {
    "accuracy": "fraction",
    "noise": "fraction",
    "macs": "count",
    "parameters": "count",
    "cpu_per_wall": "number",
}
_WORDS = {"macs": "MACs", "cpu": "CPU", "sqnr": "SQNR", "db": "dB"}
_LABELS = {
    "cpu_per_wall": "CPU/wall",
    "images_per_second": "images/s",
    "top1_agreement": "top-1 agreement",
    "max_abs_diff": "max abs diff",
    "size_bytes": "size",
}


def unit_of(name: str, units: Mapping[str, str]) -> str:
    """The unit of a metric; for one that nothing was said about, what its name suggests."""
    if name in units:
        return units[name]
    if name in _UNITS:
        return _UNITS[name]
    if name.endswith("_bytes"):
        return "bytes"
    if name.startswith("latency") or name.endswith("_seconds"):
        return "s"
    if name.endswith(("accuracy", "agreement")):
        return "fraction"
    return "number"


def metric(node: NodeResult, name: str) -> str:
    """A node's metric with its unit, or nothing where there is none."""
    value = number(node, name)
    return "" if value is None else show(value, unit_of(name, node.units))


def number(node: NodeResult | None, name: str) -> float | None:
    """A node's metric, or None where there is none that is a finite number."""
    value = node.metrics.get(name) if node else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def label(name: str) -> str:
    """A metric's name in words: ``macs_removed`` → ``MACs removed``."""
    if name in _LABELS:
        return _LABELS[name]
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def sign(value: float, digits: int = 2) -> str:
    """A number with its sign, a true minus: ``−0.41``, ``+1.20``, ``0.00``."""
    text = f"{value:.{digits}f}"
    if not text.strip("-0."):
        return text.lstrip("-")
    return "−" + text[1:] if text.startswith("-") else "+" + text


def points(new: float | None, old: float | None) -> str:
    """A change of a fraction in percentage points: ``−0.41``."""
    return "" if new is None or old is None else sign((new - old) * 100)


def change(new: float | None, old: float | None) -> str:
    """A relative change: ``−71 %``, ``+3 %``; from the double up a factor, ``×3.3``."""
    if new is None or not old:
        return ""
    ratio = new / old
    if ratio >= 2:
        return f"×{factor(ratio)}"
    return f"{sign((ratio - 1) * 100, 0)} %"


def times(old: float | None, new: float | None) -> str:
    """How many times ``new`` is less than ``old``: ``5.1×``."""
    return "" if not new or old is None else f"{factor(old / new)}×"


def factor(ratio: float) -> str:
    """A ratio in two to three digits: ``0.52``, ``5.1``, ``12``."""
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def counts(result: RunResult) -> str:
    """How many nodes there are, by status: ``12 nodes: 3 ran, 9 cached``."""
    total = len(result.nodes)
    parts = [
        f"{n} {status}"
        for status in ("ran", "cached", "failed", "skipped")
        if (n := sum(node.status == status for node in result.nodes))
    ]
    return f"{total} node{'s' * (total != 1)}" + (f": {', '.join(parts)}" if parts else "")


def headline(result: RunResult) -> list[str]:
    """The run in a few words: ``done in 3 min 20 s``, ``12 nodes: 3 ran, 9 cached``."""
    repeated = not result.seconds and all(node.status == "cached" for node in result.nodes)
    took = "nothing to run" if repeated else f"in {seconds(result.seconds)}"
    parts = [f"{result.status}, {took}" if repeated else f"{result.status} {took}", counts(result)]
    saved = sum(node.seconds for node in result.nodes if node.status == "cached")
    return [*parts, f"the cache saved {seconds(saved)}"] if saved >= 1 else parts


def gate_values(gate: GateResult) -> str:
    """Both sides of a gate, and how far apart they are.

    ``97.90 % against 97.50 %, 0.40 points to spare``; for a failed one ``0.40 points short``.
    """
    if gate.error:
        return gate.error
    if gate.left is None or gate.right is None:
        return "a value is missing"
    sides = f"{show(gate.left, gate.unit)} against {show(gate.right, gate.unit)}"
    return f"{sides}, {_margin(gate.left, gate.right, gate)}"


def _margin(left: float, right: float, gate: GateResult) -> str:
    distance = abs(left - right)
    if not distance:
        return "just met" if gate.passed else "equal"
    if gate.unit == "fraction":
        text = f"{distance * 100:.2f} points"
    else:
        text = show(distance, gate.unit)
        if right:
            text += f" ({distance / abs(right) * 100:.0f} %)"
    if gate.passed:
        return f"{text} to spare"
    return f"{text} {'too much' if left > right else 'short'}"
