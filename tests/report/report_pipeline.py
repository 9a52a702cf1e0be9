"""The main pipeline's run, as it is when all went well."""

from __future__ import annotations

from report_nodes import bench, curves, node

from edgepipe.results import GateResult, RunResult

PRECISIONS = {
    "float32": (403_512, 0.9889, 0.000212, 4.1e6),
    "float16": (207_332, 0.9889, 0.000215, 4.1e6),
    "dynamic": (128_040, 0.9861, 0.000301, 3.9e6),
    "int8": (134_864, 0.9861, 0.000148, 3.2e6),
}


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
