"""benchmark.onnxruntime: accuracy, size, latency and memory of an ONNX model."""

from __future__ import annotations

from edgepipe_stages import ImageDataset, OnnxModel
from edgepipe_stages._measure import benchmark


class BenchmarkOnnxRuntime(benchmark.Benchmark):
    """Measure an ONNX model as ONNX Runtime runs it on the processor."""

    inputs = {"model": OnnxModel, "data": ImageDataset}
    requires = ("onnxruntime", "onnx")
    seeded = False
    runtime = "ONNX Runtime"
