"""Runs to render: the main pipeline's, and what may become of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from report_nodes import bench, curves, node
from report_pipeline import sample

from edgepipe.results import GateResult, OutputResult, RunResult

HOSTILE = "<script>alert('x')</script>\"&'<img src=x onerror=alert(1)>"


def cached() -> RunResult:
    """The main pipeline again: nothing to do."""
    run = sample()
    nodes = tuple(replace(n, status="cached", reason="", log="") for n in run.nodes)
    return replace(run, nodes=nodes, seconds=0.21, id="2026-11-23T08-40-00")


def failing() -> RunResult:
    """A converter fails, what needs it is skipped, a gate does not hold, one cannot be told."""
    run = sample()
    nodes = []
    for n in run.nodes:
        if n.name == "tflite[float16]":
            n = replace(
                n, status="failed", outputs={}, metrics={}, units={},
                error="the operator GRU cannot be converted (layer rnn/gru_1)\n"
                "try convert.litert, which takes recurrent layers",
            )  # fmt: skip
        elif n.name in ("parity[float16]", "bench[float16]"):
            n = replace(
                n, status="skipped", outputs={}, metrics={}, units={}, seconds=0.0,
                reason="tflite[float16] failed", log="",
            )  # fmt: skip
        elif n.name in ("data", "teacher"):
            n = replace(n, status="cached", reason="", log="")
        nodes.append(n)
    gates = (
        run.gates[0],
        replace(run.gates[1], passed=False, text="bench[int8].accuracy >= 99 %", right=0.99),
        replace(run.gates[2], passed=False, text="tflite[int8].size <= 100 kB", right=100_000),
        GateResult(
            "bench[float16].accuracy >= 98 %", False, None, 0.98, "fraction",
            "bench[float16] has no result",
        ),
    )  # fmt: skip
    return replace(run, status="failed", nodes=tuple(nodes), gates=gates)


def hostile() -> RunResult:
    """Every string of the run is an attack on HTML, on Markdown or on a terminal."""
    run = failing()
    evil = HOSTILE + "\x1b[31m\u202e|`*_[a](javascript:alert(1))\x00\ud800"

    def spoil(value: Any) -> Any:
        if isinstance(value, str):
            return evil + value
        if isinstance(value, dict):
            return {spoil(k): spoil(v) for k, v in value.items()}
        return [spoil(v) for v in value] if isinstance(value, list) else value

    nodes = tuple(
        replace(
            n,
            name=evil + n.name,
            kind=evil + n.kind,
            key=evil,
            reason=evil,
            error=evil + "\n" + n.error if n.error else "",
            log="javascript:alert(1)" + HOSTILE,
            params=spoil(dict(n.params)),
            inputs={evil + p: evil + source for p, source in n.inputs.items()},
            outputs={
                evil + p: OutputResult(evil + o.type, evil, o.size) for p, o in n.outputs.items()
            },
            metrics={**n.metrics, evil: 1.0},
            units={**n.units, evil: evil},
            details={
                evil: {
                    "curves": {
                        evil: {"x": [1, 2, 3], "y": [1.0, 0.5, 0.1]},
                        "broken": {"x": "</script>", "y": [None]},
                        "text": evil,
                    }
                }
            },
        )
        for n in run.nodes
    )
    return replace(
        run,
        id=evil,
        pipeline=evil,
        file=evil,
        started=evil,
        edgepipe=evil,
        nodes=nodes,
        gates=tuple(replace(g, text=evil, error=evil if g.error else "") for g in run.gates),
        machine=spoil(dict(run.machine)),
        versions=spoil(dict(run.versions)),
    )


def large(variants: int = 37) -> RunResult:
    """A sweep: 8 stages a variant of a matrix, with 37 variants about 300 nodes."""
    run = sample()
    nodes = [run.nodes[0], run.nodes[1]]
    for i in range(variants):
        accuracy = 0.97 + 0.02 * ((i * 37) % 100) / 100
        size = 90_000 + 21_013 * i
        width = f"{i / 40 + 0.1:.3f}"
        student, pruned, onnx = f"student[{width}]", f"pruned[{width}]", f"onnx[{width}]"
        saved, lite = f"savedmodel[{width}]", f"tflite[{width}]"
        data = {"data": "data.data"}
        nodes += [
            node(
                student, "distill.logits", 40 + i, {"teacher": "teacher.model", **data},
                {"model": ("TorchModel", size * 8)}, {"accuracy": accuracy + 0.004},
                details=curves(8 + i % 5, accuracy, 2.5),
            ),
            node(
                pruned, "prune.structured", 20 + i, {"model": f"{student}.model", **data},
                {"model": ("TorchModel", size * 4)}, {"accuracy": accuracy + 0.002},
            ),
            node(
                onnx, "convert.onnx", 1.9, {"model": f"{pruned}.model"},
                {"model": ("OnnxModel", size * 4)},
            ),
            node(
                saved, "convert.savedmodel", 7.9, {"model": f"{onnx}.model"},
                {"model": ("SavedModel", size * 9)},
            ),
            node(
                lite, "convert.tflite", 9.0, {"model": f"{saved}.model"},
                {"model": ("TfliteModel", size)},
            ),
            node(
                f"parity[{width}]", "check.parity", 1.2,
                {"model": f"{lite}.model", "reference": f"{pruned}.model"},
                {"report": ("Metrics", 800)}, {"max_abs_diff": 0.2},
            ),
            bench(f"bench[{width}]", f"{lite}.model", "tflite", size, accuracy, 1e-4 + 2e-5 * i, 3e6),
            bench(
                f"bench_onnx[{width}]", f"{onnx}.model", "onnxruntime", size * 4, accuracy + 0.002,
                2e-4 + 2e-5 * i, 9e6,
            ),
        ]  # fmt: skip
    return replace(run, nodes=tuple(nodes), seconds=4012.0, pipeline="width_sweep")
