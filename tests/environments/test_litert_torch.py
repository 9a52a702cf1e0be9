"""convert.litert_torch in its real environment: what the way over ONNX cannot convert, it does."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import Folder

from edgepipe.environments import Environments
from edgepipe.kinds import packages
from edgepipe_stages import ImageDataset, TFLiteModel, TorchModel

ENVIRONMENT = Environments.of(Path(), packages()).get("litert_torch")

NETWORK = '''\
"""Rows of an image as a sequence: a GRU, then attention over its steps."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, channels, height, width):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.gru = nn.GRU(4 * width, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = x.permute(0, 2, 1, 3).flatten(2)
        steps, _ = self.gru(x)
        attended, _ = self.attention(steps, steps, steps, need_weights=False)
        return self.head(attended.mean(1))
'''

PIPELINE = """\
edgepipe: 1
name: recurrent
stages:
  data: {uses: data.digits, with: {image_size: 8}}
  model: {uses: model.python, in: {data: data}, with: {code: "network.py:Net"}}
  onnx: {uses: convert.onnx, in: {model: model}}
  calibration: {uses: quantize.static, in: {model: onnx, data: data}}
  tflite:
    uses: convert.litert_torch
    in: {model: model, calibration: calibration.calibration}
    matrix: {precision: [float32, dynamic, int8]}
  parity: {uses: check.parity, in: {reference: model, model: "tflite[float32]", data: data}}
"""


@pytest.mark.heavy
@pytest.mark.skipif(ENVIRONMENT.problem() is not None, reason="it is locked for another platform")
def test_a_recurrent_network_with_attention(
    project: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Tests have a home of their own; what pip has downloaded before may serve again.
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.setenv("PIP_CACHE_DIR", str(home / ".cache" / "pip"))
    project.write("network.py", NETWORK)
    project.write("p.yaml", PIPELINE)
    refused = project.edgepipe("run", "p.yaml")
    assert refused.code == 2
    assert "edgepipe env sync litert_torch" in refused.err
    made = project.edgepipe("env", "sync", "litert_torch", timeout=600)
    assert made.code == 0, made.err
    done = project.edgepipe("run", "p.yaml", "--json", timeout=600)
    assert done.code == 0, done.out + done.err
    nodes = {node["name"]: node for node in done.json["nodes"]}
    assert nodes["parity"]["metrics"]["max_abs_diff"] < 1e-4
    assert nodes["tflite[int8]"]["metrics"]["float_tensors"] == 0
    versions = done.json["versions"]
    assert versions["torch (litert_torch)"].startswith(f"{versions['torch'].split('+')[0]}")

    for name in ("data.data", "model.model", *(f"tflite[{p}].model" for p in PRECISIONS)):
        exported = project.edgepipe("export", name, str(tmp_path / name))
        assert exported.code == 0, exported.err
    expected = torch_scores(project, tmp_path)
    # The tensors' names hold no place of this machine.
    content = (tmp_path / "tflite[float32].model" / "model.tflite").read_bytes()
    assert b"edgepipe_user" not in content
    for precision, bound in PRECISIONS.items():
        found = tflite_scores(tmp_path / f"tflite[{precision}].model", images(tmp_path))
        spread = float(np.ptp(expected))
        assert np.abs(found - expected).max() <= bound * spread, precision


PRECISIONS = {"float32": 1e-5, "dynamic": 0.05, "int8": 0.15}
"""The largest difference from torch, as a share of the scores' spread."""


def images(folder: Path) -> np.ndarray:
    return ImageDataset.load(folder / "data.data").test.images[:50]


def torch_scores(project: Folder, folder: Path) -> np.ndarray:
    from edgepipe.usercode import import_user_object
    from edgepipe_stages._torch_model import load_model

    path = folder / "model.model"
    module = load_model(path, lambda reference: import_user_object(reference, project.path))
    with torch.no_grad():
        normalized = TorchModel.interface(path).normalize(images(folder))
        return module(torch.from_numpy(normalized)).numpy()


def tflite_scores(path: Path, pixels: np.ndarray) -> np.ndarray:
    from edgepipe_stages._runtime.litert import LiteRT

    runtime = LiteRT(path, 1, lambda reference: None)
    interface = TFLiteModel.interface(path)
    assert interface.layout == "nhwc"
    return runtime.scores(interface.normalize(pixels))
