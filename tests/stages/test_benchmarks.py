"""benchmark.torch, benchmark.onnxruntime, benchmark.tflite: numbers against independent ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from edge_models import Models, digits_net
from numpy.typing import NDArray
from stage_runs import Ran, RunStage
from tflite_runs import run_tflite

from edgepipe_stages import ImageDataset, Model, TorchModel
from edgepipe_stages._measure.benchmark import Benchmark
from edgepipe_stages._torch_model import load_model
from edgepipe_stages.benchmark.onnxruntime import BenchmarkOnnxRuntime
from edgepipe_stages.benchmark.tflite import BenchmarkTFLite
from edgepipe_stages.benchmark.torch import BenchmarkTorch

SHORT = {"runs": 50, "warmup": 2, "seconds": 0.5}


@pytest.fixture(scope="module")
def models(run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return digits_net(run_stage, tmp_path_factory.getbasetemp(), "resnet8")


def accuracy(scores: NDArray[np.float32], data: Path) -> float:
    return float((scores.argmax(axis=1) == ImageDataset.load(data).test.labels).mean())


def images(model: Path, data: Path) -> NDArray[np.float32]:
    return Model.interface(model).normalize(ImageDataset.load(data).test.images)


def check(ran: Ran, stage: type[Benchmark], size: int, expected: float) -> None:
    """What holds for every benchmark."""
    found, report = ran.metrics, ran.load("report")
    cores = len(os.sched_getaffinity(0))
    assert set(found) == {
        name
        for name in stage.metrics
        if not name.startswith(("latency_4t", "latency_2t" if cores < 2 else "latency_4t"))
    }
    assert found["size_bytes"] == size
    assert found["accuracy"] == pytest.approx(expected, abs=0.003)
    assert 0 < found["latency_min"] <= found["latency_p50"] <= found["latency_p90"]
    assert found["latency_p90"] <= found["latency_p99"] < 5
    assert 0.1 < found["cpu_per_wall"] <= 1.05
    assert 0 < found["peak_memory_bytes"] < 500e6
    assert isinstance(report["noisy"], bool)
    assert report["noisy"] == bool(report["disturbances"])
    one = report["latency"]["1"]
    assert one["calls"] >= 50
    assert one["percent"][0] == 0
    assert one["seconds"][0] == found["latency_min"]
    assert one["seconds"] == sorted(one["seconds"])
    assert [name for name, _ in ran.events if name == "warning"] == ["warning"] * report["noisy"]


def test_torch(run_stage: RunStage, models: Models) -> None:
    ran = run_stage(BenchmarkTorch, SHORT, model=models.torch, data=models.data)
    module = load_model(models.torch, str)
    with torch.no_grad():
        scores = module(torch.from_numpy(images(models.torch, models.data))).numpy()
    size = (models.torch / "weights.safetensors").stat().st_size
    check(ran, BenchmarkTorch, size, accuracy(scores, models.data))
    assert ran.metrics["parameters"] == sum(p.numel() for p in module.parameters())
    assert TorchModel.interface(models.torch).height == 16


@pytest.mark.parametrize("name", ["onnx", "static"])
def test_onnxruntime(run_stage: RunStage, models: Models, name: str) -> None:
    model: Path = getattr(models, name)
    ran = run_stage(BenchmarkOnnxRuntime, SHORT, model=model, data=models.data)
    session = onnxruntime.InferenceSession(model / "model.onnx")
    scores = session.run(None, {"image": images(model, models.data)})[0]
    size = (model / "model.onnx").stat().st_size
    check(ran, BenchmarkOnnxRuntime, size, accuracy(scores, models.data))


@pytest.mark.parametrize("precision", ["float32", "dynamic", "int8"])
def test_tflite(run_stage: RunStage, models: Models, precision: str) -> None:
    model = models.tflite[precision]
    ran = run_stage(BenchmarkTFLite, SHORT, model=model, data=models.data)
    content = (model / "model.tflite").read_bytes()
    scores = run_tflite(content, images(model, models.data))
    check(ran, BenchmarkTFLite, len(content), accuracy(scores, models.data))


def test_only_one_thread_and_fewer_cores_than_asked(run_stage: RunStage, models: Models) -> None:
    params = {**SHORT, "threads": [4]}
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(allowed)])
    try:
        ran = run_stage(BenchmarkOnnxRuntime, params, model=models.onnx, data=models.data)
    finally:
        os.sched_setaffinity(0, allowed)
    assert set(ran.load("report")["latency"]) == {"1"}
    assert not [name for name in ran.metrics if name.startswith(("latency_2t", "latency_4t"))]
    assert ran.metrics["accuracy"] > 0.9
    logs = [data["message"] for name, data in ran.events if name == "log"]
    assert "1 cores: measured with at most 1 threads" in logs
