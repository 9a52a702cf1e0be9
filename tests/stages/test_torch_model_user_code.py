"""TorchModel artifacts of networks that the user's code makes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch_models import INTERFACE, describe, saved

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import TorchModel
from edgepipe_stages._torch_model import build, load_model, prepare_torch

NETS = """
import torch
from torch import nn
from helper import ACTIVATION

class Tied(nn.Module):
    def __init__(self, num_classes, channels, hidden=8):
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.first = nn.Linear(hidden, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden, bias=False)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(hidden, num_classes)

    def forward(self, x):
        x = ACTIVATION(self.conv(x)).mean((2, 3))
        return self.fc(self.second(self.first(x)))

def fails():
    raise ValueError("no luck")

def number():
    return 3
"""


@contextmanager
def forgotten_imports() -> Iterator[None]:
    """What is imported within is unknown again after."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "helper.py").write_text("from torch import relu as ACTIVATION\n")
    (folder / "nets.py").write_text(NETS)
    with forgotten_imports():
        yield folder


def test_the_users_class_with_shared_weights_comes_back(tmp_path: Path, project: Path) -> None:
    def user_object(reference: str) -> Any:
        return import_user_object(reference, project)

    module = build({"arch": "python:nets.py:Tied"}, INTERFACE, user_object).eval()
    folder = saved(tmp_path, "a", module, describe("python:nets.py:Tied"))
    assert "second.weight" not in load_file(folder / "weights.safetensors")
    assert TorchModel.describe(folder)["shared"] == {"second.weight": "first.weight"}
    loaded = load_model(folder, user_object)
    assert loaded.first.weight is loaded.second.weight
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(x), module(x))


def test_the_users_code_is_part_of_what_the_artifact_says(tmp_path: Path, project: Path) -> None:
    codes = []
    for i, activation in enumerate(["relu", "relu", "sigmoid"]):
        (project / "helper.py").write_text(f"from torch import {activation} as ACTIVATION\n")
        prepare_torch(1, 1)
        with forgotten_imports():
            module = build(
                {"arch": "python:nets.py:Tied"},
                INTERFACE,
                lambda reference: import_user_object(reference, project),
            )
            folder = saved(tmp_path, f"{i}", module, describe("python:nets.py:Tied"))
        codes.append(TorchModel.describe(folder)["code"])
    assert codes[0] == codes[1] != codes[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", "'python:nets.py:fails' could not be made: ValueError: no luck"),
        ("number", "'python:nets.py:number' gave a int, not a torch.nn.Module"),
        ("Tide", "nets.py has no 'Tide'"),
    ],
)
def test_user_code_that_makes_no_model_is_named(project: Path, name: str, message: str) -> None:
    with pytest.raises(StageError, match=message):
        build(
            {"arch": f"python:nets.py:{name}"}, INTERFACE, lambda r: import_user_object(r, project)
        )
