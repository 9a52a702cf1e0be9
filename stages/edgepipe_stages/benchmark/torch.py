"""benchmark.torch: accuracy, size, latency and memory of a torch model."""

from __future__ import annotations

from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._measure import benchmark


class BenchmarkTorch(benchmark.Benchmark):
    """Measure a torch model as PyTorch runs it on the processor: eager, float32, channels last."""

    inputs = {"model": TorchModel, "data": ImageDataset}
    requires = ("torch",)
    seeded = False
    runtime = "PyTorch"
