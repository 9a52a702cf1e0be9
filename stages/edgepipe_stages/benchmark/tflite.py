"""benchmark.tflite: accuracy, size, latency and memory of a TensorFlow Lite model."""

from __future__ import annotations

from edgepipe_stages import ImageDataset, TFLiteModel
from edgepipe_stages._measure import benchmark


class BenchmarkTFLite(benchmark.Benchmark):
    """Measure a TensorFlow Lite model as LiteRT's interpreter runs it on the processor.

    Integers at the model's input and output are scaled outside of the time that is measured. On
    x86 processors without VNNI int8 is often slower than float, for want of fast kernels.
    """

    inputs = {"model": TFLiteModel, "data": ImageDataset}
    requires = ("ai-edge-litert",)
    seeded = False
    runtime = "LiteRT"
