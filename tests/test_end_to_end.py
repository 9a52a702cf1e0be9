"""The real pipeline on real digits, trained briefly: everything that it promises but accuracy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from projects import Folder, command

ROOT = Path(__file__).parent.parent
PIPELINE = "pipelines/mobilenet_int8.yaml"
BRIEF = [
    "--set", "teacher.with.epochs=3",
    "--set", "student.with.epochs=4",
    "--set", "pruned.with.epochs=3",
    "--set", "gates=['pruned.macs_removed >= 40 %', 'tflite[int8].size <= 40 % * tflite[float32].size']",
]  # fmt: skip


def clone(path: Path) -> Folder:
    """What the pipeline needs of a checkout."""
    for name in ("pipelines", "configs"):
        shutil.copytree(ROOT / name, path / name)
    (path / "edgepipe.toml").write_text("")
    return Folder(path)


def outputs(folder: Folder, cache: Path) -> dict[str, dict[str, str]]:
    shown = folder.edgepipe("show", "--json", EDGEPIPE_CACHE=str(cache)).json
    return {
        node["name"]: {port: output["digest"] for port, output in node["outputs"].items()}
        for node in shown["nodes"]
    }


def run_until_killed(folder: Folder, cache: Path) -> None:
    """SIGKILL in the middle of the student's training, after its first checkpoint."""
    process = subprocess.Popen(
        command("run", PIPELINE, *BRIEF, "--plain"),
        cwd=folder.path,
        env={**os.environ, "EDGEPIPE_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 600
    while not any(
        "student" in log.name and list(cache.glob("scratch/*/training.checkpoint"))
        for log in folder.path.glob(".edgepipe/runs/*/logs/*")
    ):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.heavy
def test_the_main_pipeline(tmp_path: Path) -> None:
    whole, killed = clone(tmp_path / "whole"), clone(tmp_path / "killed")
    one, other = tmp_path / "one", tmp_path / "other"
    done = whole.edgepipe("run", PIPELINE, *BRIEF, "--json", timeout=1500, EDGEPIPE_CACHE=str(one))
    assert done.code == 0, done.err
    nodes: dict[str, Any] = {node["name"]: node for node in done.json["nodes"]}
    assert {node["status"] for node in nodes.values()} == {"ran"}
    _check_models({name: node["metrics"] for name, node in nodes.items()})
    _check_again(whole, one)

    # A run that is killed in a training goes on there, and ends with the same bytes.
    run_until_killed(killed, other)
    again = killed.edgepipe(
        "run", PIPELINE, *BRIEF, "--json", timeout=1500, EDGEPIPE_CACHE=str(other)
    )
    assert again.code == 0, again.err
    second = {node["name"]: node for node in again.json["nodes"]}
    assert second["teacher"]["status"] == "cached"
    log = Path(again.json["folder"]) / second["student"]["log"]
    assert "training: goes on after epoch" in log.read_text()
    found = outputs(killed, other)
    for name, made in outputs(whole, one).items():
        if not name.startswith("bench"):
            assert found[name] == made, name


def _check_models(metrics: dict[str, dict[str, float]]) -> None:
    assert metrics["tflite[int8]"]["float_tensors"] == 0
    assert metrics["tflite[int8]"]["transposes"] <= 1
    assert metrics["pruned"]["macs_removed"] >= 0.4
    assert metrics["bench_onnx"]["macs"] < 0.6 * metrics["bench_onnx_student"]["macs"]
    assert metrics["parity[float32]"]["relative_error"] < 1e-3
    drop = metrics["bench[float32]"]["accuracy"] - metrics["bench[int8]"]["accuracy"]
    assert drop <= 0.02


def _check_again(folder: Folder, cache: Path) -> None:
    again = folder.edgepipe("run", PIPELINE, *BRIEF, "--json", EDGEPIPE_CACHE=str(cache))
    assert again.code == 0
    assert {node["status"] for node in again.json["nodes"]} == {"cached"}
    report = Path(again.json["folder"]) / "report.html"
    assert "tflite[int8]" in report.read_text()
    exported = folder.edgepipe("export", "tflite[int8]", "build", EDGEPIPE_CACHE=str(cache))
    assert exported.code == 0
    model = next((folder.path / "build").rglob("*.tflite"))
    sizes = [
        n["outputs"]["model"]["size"] for n in again.json["nodes"] if n["name"] == "tflite[int8]"
    ]
    assert [model.stat().st_size] == sizes
    assert json.loads((model.parent / "model.json").read_text())["precision"] == "int8"
