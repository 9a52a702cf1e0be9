"""Runs as a real pipeline makes them, to render."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

from edgepipe.results import GateResult, NodeResult, NodeStatus, OutputResult, RunResult

HOSTILE = "<script>alert('x')</script>\"&'<img src=x onerror=alert(1)>"
PRECISIONS = {
    "float32": (403_512, 0.9889, 0.000212, 4.1e6),
    "float16": (207_332, 0.9889, 0.000215, 4.1e6),
    "dynamic": (128_040, 0.9861, 0.000301, 3.9e6),
    "int8": (134_864, 0.9861, 0.000148, 3.2e6),
}
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


def sample() -> RunResult:
    """The main pipeline, all done."""
    torch, data = "TorchModel", {"data": "data.data"}
    history = ("Metrics", 2_311)
    nodes = [
        node(
            "data",
            "data.digits",
            0.41,
            None,
            {"data": ("ImageDataset", 5_524_110)},
            params={"image_size": 32},
        ),
        node(
            "teacher",
            "train.classifier",
            31.2,
            data,
            {"model": (torch, 1_252_108), "history": history},
            {"accuracy": 0.9933, "macs": 12_604_928.0, "parameters": 77_850.0},
            details=curves(12, 0.9933, 2.3),
            params={"model": {"arch": "resnet8"}, "epochs": 12, "optimizer": "adamw"},
        ),
        node(
            "student",
            "distill.logits",
            48.1,
            {"teacher": "teacher.model", **data},
            {"model": (torch, 812_004), "history": history},
            {"accuracy": 0.9908, "macs": 5_702_144.0, "parameters": 190_410.0},
            details=curves(16, 0.9908, 2.9),
            params={"model": {"arch": "mobilenet_v2", "width": 0.5}, "temperature": 4.0},
        ),
        node(
            "pruned",
            "prune.structured",
            22.7,
            {"model": "student.model", **data},
            {"model": (torch, 405_216), "history": history},
            {
                "accuracy": 0.9889,
                "macs": 2_913_408.0,
                "macs_before": 5_702_144.0,
                "macs_removed": 0.4891,
                "parameters": 96_200.0,
            },
            details=curves(5, 0.9889, 0.9),
            params={"ratio": 0.3, "epochs": 5},
        ),
        node(
            "calibration",
            "quantize.calibration",
            0.2,
            data,
            {"calibration": ("Calibration", 614_000)},
        ),
        node(
            "onnx",
            "convert.onnx",
            1.92,
            {"model": "pruned.model"},
            {"model": ("OnnxModel", 411_930)},
            {"operators": 101.0},
        ),
        node(
            "onnx_int8",
            "quantize.static",
            2.44,
            {"model": "onnx.model", "calibration": "calibration.calibration"},
            {"model": ("OnnxModel", 148_301)},
        ),
        node(
            "savedmodel",
            "convert.savedmodel",
            7.9,
            {"model": "onnx.model"},
            {"model": ("SavedModel", 1_904_776)},
        ),
    ]
    for precision, (size, _, _, _) in PRECISIONS.items():
        nodes.append(
            node(
                f"tflite[{precision}]", "convert.tflite", 8.8,
                {"model": "savedmodel.model", "calibration": "calibration.calibration"},
                {"model": ("TfliteModel", size)},
                {"size_bytes": float(size), "operators": 66.0, "transposes": 1.0,
                 "float_tensors": 0.0 if precision == "int8" else 131.0},
                params={"precision": precision},
            )
        )  # fmt: skip
    for precision in PRECISIONS:
        exact = precision == "float32"
        nodes.append(
            node(
                f"parity[{precision}]",
                "check.parity",
                1.6,
                {"model": f"tflite[{precision}].model", "reference": "pruned.model", **data},
                {"report": ("Metrics", 880)},
                {
                    "max_abs_diff": 2.3e-5 if exact else 0.41,
                    "top1_agreement": 1.0 if exact else 0.9944,
                    "accuracy_drop": 0.0 if exact else 0.0028,
                },
            )
        )
    nodes += [
        bench("bench_teacher", "teacher.model", "torch", 1_252_108, 0.9933, 0.00121, 21e6),
        bench("bench_student", "student.model", "torch", 812_004, 0.9908, 0.00213, 24e6),
        bench("bench_pruned", "pruned.model", "torch", 405_216, 0.9889, 0.00171, 22e6),
        bench("bench_onnx_int8", "onnx_int8.model", "onnxruntime", 148_301, 0.9861, 0.00011, 9e6),
    ]
    nodes += [
        bench(f"bench[{p}]", f"tflite[{p}].model", "tflite", size, accuracy, latency, memory)
        for p, (size, accuracy, latency, memory) in PRECISIONS.items()
    ]
    gates = (
        GateResult("teacher.accuracy >= 98.5 %", True, 0.9933, 0.985, "fraction"),
        GateResult("bench[int8].accuracy >= 97.5 %", True, 0.9861, 0.975, "fraction"),
        GateResult(
            "tflite[int8].size <= 0.4 * tflite[float32].size", True, 134_864, 161_404.8, "bytes"
        ),
    )
    return RunResult(
        id="2026-11-23T08-31-07",
        pipeline="mobilenet_int8",
        file="pipelines/mobilenet_int8.yaml",
        started="2026-11-23T08:31:07+00:00",
        seconds=198.4,
        status="done",
        seed=7,
        nodes=tuple(nodes),
        gates=gates,
        machine={
            "cpu": "Intel(R) Xeon(R) Platinum 8481C",
            "cores": 2,
            "memory": 25_199_562_752,
            "system": "Linux-6.1.0-x86_64",
            "python": "3.11.7",
        },
        versions={"torch": "2.13.0", "tensorflow": "2.21.0", "onnx": "1.23.2", "numpy": "2.4.6"},
        edgepipe="0.1.0",
    )


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
