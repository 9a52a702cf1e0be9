"""The process that measures: percentiles, quiet processors, memory, and how it can go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from edge_models import interface, save_noise, save_onnx
from hypothesis import given
from hypothesis import strategies as st
from onnx_texts import floats, save_text
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import OnnxModel, TorchModel
from edgepipe_stages._measure import child
from edgepipe_stages._measure.benchmark import _disturbances, percentile
from edgepipe_stages._measure.child import Timing
from edgepipe_stages._measure.machine import (
    busy_seconds,
    peak_memory,
    quiet_cpus,
    reset_peak_memory,
)
from edgepipe_stages._torch_model import save_model
from edgepipe_stages.benchmark.onnxruntime import BenchmarkOnnxRuntime
from edgepipe_stages.benchmark.torch import BenchmarkTorch

SHORT = {"runs": 50, "warmup": 1, "threads": [1], "seconds": 0.3}
BUSY = "while True: pass"


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=50), st.integers(0, 100))
def test_percentiles_are_numpys_by_nearest_rank(values: list[float], percent: int) -> None:
    assert percentile(values, percent) == np.percentile(values, percent, method="inverted_cdf")


def test_a_busy_processor_is_avoided() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    busy = allowed[0]
    neighbor = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        os.sched_setaffinity(neighbor.pid, [busy])
        time.sleep(0.1)
        before = busy_seconds()[busy]
        time.sleep(0.3)
        assert busy_seconds()[busy] - before > 0.2
        assert quiet_cpus(len(allowed), allowed) == allowed
        assert quiet_cpus(1000, allowed) == allowed
    finally:
        neighbor.kill()
        neighbor.wait()


def test_peak_memory_follows_what_is_touched() -> None:
    reset_peak_memory()
    before = peak_memory()
    block = np.ones(30_000_000, np.uint8)
    assert peak_memory() - before >= 29_000_000
    del block
    assert peak_memory() - before >= 29_000_000


def timing(times: list[float], cpu: float = 1.0, wall: float = 1.0, other: float = 0.0) -> Timing:
    return Timing(times, cpu, wall, other, (0.0, 0.0))


def test_what_is_called_noisy() -> None:
    calm = [1.0] * 99 + [1.6]
    assert _disturbances({1: timing(calm)}) == []
    rough = timing([1.0] * 90 + [1.6] * 10, cpu=0.5, other=0.4)
    assert _disturbances({1: timing(calm), 2: rough}) == [
        "with 2 threads 10% of calls took over 1.5 × the fastest, other processes took 40% of its"
        " processors' time, it ran only 50% of the time"
    ]


def flat(path: Path, inputs: int, outputs: int) -> tuple[Path, Path]:
    """A torch model of one matrix, and its data."""
    shape = (1, 1, inputs)
    text = (
        "from torch import nn\n"
        "def make(height, width, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(height * width, num_classes))\n"
    )
    (path / "net.py").write_text(text)
    description = {
        "interface": interface(shape, outputs).as_json(),
        "architecture": {"arch": "python:net.py:make"},
    }
    module = nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))
    (path / "model").mkdir()
    save_model(path / "model", module, description)
    return path / "model", save_noise(path / "data", shape, outputs, count=outputs)


def test_what_macs_leaves_out_is_said(run_stage: RunStage, tmp_path: Path) -> None:
    body = "t = com.microsoft.Inverse (x) u = Flatten (t) y = Gemm (u, w)"
    model = save_text(tmp_path / "model", body, {"w": floats(16, 4)}, "1,1,4,4")
    OnnxModel.save(model, {"interface": interface((1, 4, 4)).as_json()})
    data = save_noise(tmp_path / "data", (1, 4, 4))
    ran = run_stage(BenchmarkOnnxRuntime, SHORT, model=model, data=data)
    assert ran.metrics["macs"] == 64
    assert ran.load("report")["uncounted_operators"] == ["com.microsoft.Inverse 't'"]
    warnings = [event["message"] for kind, event in ran.events if kind == "warning"]
    assert (
        "macs leaves out operators whose work is not known: com.microsoft.Inverse 't'" in warnings
    )


def test_a_large_model_needs_its_weights_in_memory(run_stage: RunStage, tmp_path: Path) -> None:
    model, data = flat(tmp_path, 10_000, 1000)
    found = run_stage(BenchmarkTorch, SHORT, project=tmp_path, model=model, data=data).metrics
    weights = 10_001_000 * 4
    assert found["parameters"] == 10_001_000
    assert found["macs"] == 10_000_000
    assert weights < found["size_bytes"] < weights + 1000
    assert weights * 0.95 < found["peak_memory_bytes"] < 3.5 * weights


def test_a_neighbor_on_every_core_is_noticed(run_stage: RunStage, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = save_onnx(tmp_path / "m", module, (3, 32, 32), 16)
    data = save_noise(tmp_path / "d", (3, 32, 32), 16)
    neighbors = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in os.sched_getaffinity(0)]
    try:
        for neighbor, cpu in zip(neighbors, os.sched_getaffinity(0), strict=True):
            os.sched_setaffinity(neighbor.pid, [cpu])
        ran = run_stage(BenchmarkOnnxRuntime, SHORT, model=model, data=data)
    finally:
        for neighbor in neighbors:
            neighbor.kill()
            neighbor.wait()
    report = ran.load("report")
    assert report["noisy"] is True
    assert report["latency"]["1"]["other_busy"] > 0.2
    assert ran.metrics["cpu_per_wall"] < 0.9
    [warning] = [data["message"] for name, data in ran.events if name == "warning"]
    assert warning.startswith("noisy: with 1 thread ")


def test_a_model_that_the_runtime_refuses(run_stage: RunStage, tmp_path: Path) -> None:
    model = save_onnx(tmp_path / "m", nn.Sequential(nn.ReLU(), nn.Flatten()), (1, 2, 2))
    (model / "model.onnx").write_bytes(b"no model")
    with pytest.raises(StageError, match=r"ONNX Runtime does not take model\.onnx"):
        run_stage(
            BenchmarkOnnxRuntime, SHORT, model=model, data=save_noise(tmp_path / "d", (1, 2, 2))
        )


def test_images_that_do_not_fit(run_stage: RunStage, tmp_path: Path) -> None:
    model = save_onnx(tmp_path / "m", nn.Sequential(nn.ReLU(), nn.Flatten()), (1, 2, 2))
    with pytest.raises(StageError) as caught:
        run_stage(
            BenchmarkOnnxRuntime, SHORT, model=model, data=save_noise(tmp_path / "d", (3, 4, 4))
        )
    assert "images of 4 × 4 × 3 do not fit a model that takes 2 × 2 × 1" in str(caught.value)
    assert "give the data stage the image_size" in caught.value.render()


WITNESS = """
import os, torch
from torch import nn

class Witness(nn.Module):
    def forward(self, x):
        with open("WHERE", "a") as file:
            print(os.getpid(), torch.get_num_threads(), len(os.sched_getaffinity(0)), file=file)
        return x.flatten(1)
"""


def test_one_process_measures_each_number_of_threads_on_as_many_cpus(
    run_stage: RunStage, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    inputs = user_model(tmp_path, WITNESS.replace("WHERE", str(said)), "Witness")
    params = {"runs": 50, "warmup": 1, "threads": [2, 1], "seconds": 0.2}
    found = run_stage(BenchmarkTorch, params, **inputs).load("report")["latency"]
    lines = [tuple(map(int, line.split())) for line in said.read_text().splitlines()]
    assert {pid for pid, *_ in lines}.isdisjoint({os.getpid()})
    assert len({pid for pid, *_ in lines}) == 1
    counts = [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]
    seen = list(dict.fromkeys((threads, cpus) for _, threads, cpus in lines))
    assert seen == [(count, count) for count in counts]
    assert list(found) == [str(count) for count in counts]


CRASH = """
import os, signal, time
from torch import nn

class Crash(nn.Module):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)

class Hang(nn.Module):
    def forward(self, x):
        time.sleep(1000)
"""


def user_model(path: Path, code: str, name: str) -> dict[str, Path]:
    """A stage's inputs: the user's network, without weights, and noise."""
    (path / "nets.py").write_text(code)
    shape = (1, 2, 2)
    (path / "m").mkdir()
    description = {
        "interface": interface(shape).as_json(),
        "architecture": {"arch": f"python:nets.py:{name}"},
    }
    save_model(path / "m", nn.Module(), description)
    TorchModel.check(path / "m")
    return {"project": path, "model": path / "m", "data": save_noise(path / "d", shape)}


def test_a_process_that_is_killed(run_stage: RunStage, tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        run_stage(BenchmarkTorch, SHORT, **user_model(tmp_path, CRASH, "Crash"))
    assert caught.value.render() == (
        "error: the process that measures in PyTorch was ended by signal 9: it said nothing\n"
        "  signal 9 is often the system's answer to too little memory"
    )


def test_a_process_that_never_ends(run_stage: RunStage, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(StageError, match="in PyTorch took longer than 8 s"):
        run_stage(BenchmarkTorch, {**SHORT, "timeout": 8.0}, **user_model(tmp_path, CRASH, "Hang"))
    assert time.monotonic() - start < 30


def test_the_measuring_process_ends_with_its_parent() -> None:
    program = (
        "import subprocess, sys, time;"
        f"code = 'from {child.__name__} import _end_with_parent; _end_with_parent();"
        "print(1, flush=True); import time; time.sleep(1000)';"
        "p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE);"
        "p.stdout.read(1); print(p.pid, flush=True); time.sleep(1000)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while time.monotonic() < end and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except OSError:
        return False
