"""check.parity on networks of the user's own: shared, parallel and functional layers are told apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged_models import damage, shuffled
from edge_models import interface, save_noise
from stage_runs import RunStage

from edgepipe.stage import StageError
from edgepipe_stages import TorchModel
from edgepipe_stages._runtime import Inspectable, runtime_of
from edgepipe_stages._torch_model import save_model
from edgepipe_stages.check.parity import Parity
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite

USER = """
import torch
from torch import nn

class Branches(nn.Module):
    # Equal shapes side by side, a module called twice, activations without a module, rows that
    # are flattened images.

    def __init__(self, num_classes, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.wide = nn.Conv2d(16, 8, 3, stride=2, groups=2)
        self.head = nn.Linear(8 * 5 * 3, num_classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.cat([torch.sigmoid(self.a(x)) * 2, self.b(x) + x], dim=1)
        x = torch.cat([self.shared(part) for part in x.chunk(2, dim=1)], dim=1)
        return self.head(self.wide(nn.functional.leaky_relu(x)).flatten(1))

class Attention(nn.Module):
    def __init__(self, num_classes, channels):
        super().__init__()
        self.patch = nn.Conv2d(channels, 16, (11, 7), (11, 7))
        self.norm = nn.LayerNorm(16)
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.proj(torch.softmax(q @ k.transpose(-1, -2) / 4, -1) @ v)
        return self.head(x.mean(1))
"""
LAYERS = {
    "Branches": ["stem", "a", "b", "shared", "shared", "wide", "head"],
    "Attention": ["patch", "qkv", "proj", "head"],
}


@pytest.fixture(scope="module", params=LAYERS)
def users(
    request: pytest.FixtureRequest, run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path, list[Path]]:
    """Project, reference, data, and the models made from the reference."""
    project, shape = tmp_path_factory.mktemp("users"), (3, 22, 14)
    (project / "nets.py").write_text(USER)
    description = {
        "interface": interface(shape, 5).as_json(),
        "architecture": {"arch": f"python:nets.py:{request.param}"},
    }
    names: dict[str, Any] = {}
    exec(USER, names)
    torch.manual_seed(0)
    reference = project / "reference"
    reference.mkdir()
    save_model(reference, names[request.param](5, 3).eval(), description)
    data = save_noise(project / "data", shape, 5)
    onnx = run_stage(ConvertOnnx, project=project, model=reference).outputs["model"]
    saved = run_stage(ConvertSavedModel, model=onnx).outputs["model"]
    return project, reference, data, [onnx, run_stage(ConvertTFLite, model=saved).outputs["model"]]


def test_the_users_own_network(
    run_stage: RunStage, users: tuple[Path, Path, Path, list[Path]], tmp_path: Path
) -> None:
    project, reference, data, models = users
    inputs = {"project": project, "reference": reference, "data": data}
    expected = LAYERS[TorchModel.describe(reference)["architecture"]["arch"].split(":")[-1]]
    for number, model in enumerate(models):
        rows = run_stage(Parity, model=model, **inputs).load("report")["layers"]
        assert sorted(row["layer"] for row in rows) == sorted(expected)
        assert min(row["input_db"] for row in rows) > 100
        assert min(row["weight_similarity"] for row in rows) > 0.999
        runtime = runtime_of(model)(model, 1, str)
        assert isinstance(runtime, Inspectable)
        ops = {str(op): op for op in runtime.graph().products}
        for row in rows:
            bad = damage(model, tmp_path / f"{number}{len(ops)}", ops[row["operator"]], 1, shuffled)
            with pytest.raises(StageError) as caught:
                run_stage(Parity, model=bad, **inputs)
            assert f"first layer that diverges is '{row['layer']}', operator" in str(caught.value)
            shutil.rmtree(bad)
