"""Nodes of runs, with figures as real stages give them."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from edgepipe.results import NodeResult, NodeStatus, OutputResult

UNITS = {
    "accuracy": "fraction",
    "size_bytes": "bytes",
    "peak_memory_bytes": "bytes",
    "macs": "count",
    "macs_before": "count",
    "macs_removed": "fraction",
    "parameters": "count",
    "cpu_per_wall": "number",
    "noise": "fraction",
    "max_abs_diff": "number",
    "top1_agreement": "fraction",
    "accuracy_drop": "fraction",
    "operators": "count",
    "transposes": "count",
    "float_tensors": "count",
    **{
        f"latency_{threads}{name}": "s"
        for threads in ("", "2t_")
        for name in ("p50", "p90", "p99", "min")
    },
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def node(
    name: str,
    kind: str,
    seconds: float,
    inputs: dict[str, str] | None = None,
    outputs: dict[str, tuple[str, int]] | None = None,
    metrics: dict[str, float] | None = None,
    status: NodeStatus = "ran",
    **rest: Any,
) -> NodeResult:
    return NodeResult(
        name=name,
        kind=kind,
        status=status,
        seconds=seconds,
        cpu_seconds=seconds * 1.7,
        peak_memory=int(4e8 + seconds * 1e7),
        key=digest(name),
        reason=rest.pop("reason", "no result yet"),
        inputs=inputs or {},
        outputs={
            port: OutputResult(type_, digest(name + port), size)
            for port, (type_, size) in (outputs or {}).items()
        },
        metrics=metrics or {},
        units={m: UNITS[m] for m in metrics or {} if m in UNITS},
        log=rest.pop("log", f"logs/{name}.log"),
        **rest,
    )


def curves(epochs: int, best: float, start: float) -> dict[str, Any]:
    x = list(range(1, epochs + 1))
    loss = [start * math.exp(-0.45 * i) + 0.02 + 0.004 * math.sin(7 * i) for i in x]
    accuracy = [best - (best - 0.31) * math.exp(-0.8 * i) + 0.002 * math.sin(5 * i) for i in x]
    return {
        "history": {
            "curves": {
                "loss": {"x": x, "y": loss},
                "validation_accuracy": {"x": x, "y": accuracy},
                "learning_rate": {
                    "x": x,
                    "y": [0.002 * (1 + math.cos(math.pi * i / epochs)) / 2 for i in x],
                },
            }
        }
    }


def bench(
    name: str, model: str, runtime: str, size: float, accuracy: float, latency: float, memory: float
) -> NodeResult:
    return node(
        name,
        f"benchmark.{runtime}",
        6.31,
        {"model": model, "data": "data.data"},
        {"report": ("Metrics", 1_204)},
        {
            "accuracy": accuracy,
            "size_bytes": size,
            "latency_min": latency * 0.97,
            "latency_p50": latency,
            "latency_p90": latency * 1.08,
            "latency_p99": latency * 1.31,
            "latency_2t_p50": latency * 0.64,
            "latency_2t_p90": latency * 0.77,
            "latency_2t_p99": latency * 1.9,
            "peak_memory_bytes": memory,
            "cpu_per_wall": 0.99,
            "noise": 0.34 if "dynamic" in name else 0.01,
            "macs": 12_604_928.0 if model.startswith("teacher") else 2_913_408.0,
            "parameters": 77_850.0 if model.startswith("teacher") else 96_200.0,
        },
        details={
            "report": {
                "noisy": "dynamic" in name,
                "disturbances": ["with 1 thread 34 % of calls took over 1.5 × the fastest"]
                if "dynamic" in name
                else [],
            }
        },
        params={"threads": [1, 2], "runs": 200},
    )
