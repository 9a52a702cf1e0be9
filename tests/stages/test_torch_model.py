"""TorchModel artifacts: written, read, resized, and refused where they do not fit."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import Interface, TorchModel, _zoo
from edgepipe_stages._torch_model import (
    build,
    load_model,
    load_weights,
    prepare_torch,
    resize,
    resizings,
    save_model,
)

INTERFACE = Interface(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcde"))


def no_user_code(reference: str) -> Any:
    raise AssertionError(reference)


def describe(arch: str, **more: Any) -> dict[str, Any]:
    return {"interface": INTERFACE.as_json(), "architecture": {"arch": arch}, **more}


def saved(path: Path, name: str, module: nn.Module, description: dict[str, Any]) -> Path:
    folder = path / name
    folder.mkdir()
    save_model(folder, module, description)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    prepare_torch(3, 1)
    module = build({"arch": "mobilenet_v2", "width": 0.35}, INTERFACE, no_user_code)
    description = describe("mobilenet_v2")
    description["architecture"]["width"] = 0.35
    x = torch.rand(2, 3, 32, 32)
    module(x)
    folder = saved(tmp_path, "a", module, description)
    TorchModel.check(folder)
    loaded = load_model(folder, no_user_code)
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded(x), module.eval()(x))
    assert TorchModel.interface(folder) == INTERFACE


def test_equal_seeds_give_equal_bytes(tmp_path: Path) -> None:
    made = []
    for name in "ab":
        prepare_torch(3, 1)
        module = build({"arch": "resnet8"}, INTERFACE, no_user_code)
        # The way memory is laid out is not part of what a model is.
        module = module.to(memory_format=torch.channels_last) if name == "b" else module
        made.append(files(saved(tmp_path, name, module, describe("resnet8"))))
    assert made[0] == made[1]
    prepare_torch(4, 1)
    other = build({"arch": "resnet8"}, INTERFACE, no_user_code)
    assert files(saved(tmp_path, "c", other, describe("resnet8"))) != made[0]


def test_half_precision_is_written_as_float32(tmp_path: Path) -> None:
    module = _zoo.create("resnet8", classes=5, unstrided=2).bfloat16()
    loaded = load_model(saved(tmp_path, "a", module, describe("resnet8")), no_user_code)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = saved(
        tmp_path, "a", _zoo.create("resnet8", classes=5, unstrided=2), describe("resnet8")
    )
    tensors = load_file(folder / "weights.safetensors")
    tensors["fc.weight"] = torch.zeros(9, 64)
    tensors["extra"] = tensors.pop("bn1.bias")
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(StageError) as caught:
        load_model(folder, no_user_code)
    problem = caught.value.problems[0]
    assert problem.message.startswith("the weights do not fit the model: 3 of ")
    assert problem.hint.splitlines() == [
        "bn1.bias is missing",
        "extra is unexpected",
        "fc.weight: (5, 64) expected, (9, 64) found",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: (w * 100).to(torch.int8), "fc.weight: float32 expected, int8 found"),
        (lambda w: w.to(torch.complex64), "fc.weight: float32 expected, complex64 found"),
        (lambda w: w.to_sparse(), "fc.weight: it is sparse: save it with .to_dense()"),
        (lambda w: w.to("meta"), "fc.weight: it has no values, only a shape (device 'meta')"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_named(
    change: Callable[[Tensor], Tensor], said: str
) -> None:
    module = _zoo.create("resnet8", classes=5, unstrided=2)
    tensors = module.state_dict()
    tensors["fc.weight"] = change(tensors["fc.weight"])
    with pytest.raises(StageError, match="the weights do not fit the model: 1 of") as caught:
        load_weights(module, tensors)
    assert caught.value.problems[0].hint == said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2],
)
def test_weights_without_finite_values_are_refused(value: float, dtype: torch.dtype) -> None:
    module = _zoo.create("resnet8", classes=5, unstrided=2)
    tensors = module.state_dict()
    tensors["fc.bias"] = torch.tensor([1, value, 0, value, 0], dtype=dtype)
    with pytest.raises(StageError, match="hold NaN or infinity, in 1 of ") as caught:
        load_weights(module, tensors)
    assert caught.value.problems[0].hint == "fc.bias: 2 of 5"


def test_a_mask_of_infinities_is_no_weight() -> None:
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    load_weights(module, {**module.state_dict()})


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 64])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes | None) -> None:
    folder = saved(
        tmp_path, "a", _zoo.create("resnet8", classes=5, unstrided=2), describe("resnet8")
    )
    (folder / "weights.safetensors").unlink()
    if content is not None:
        (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(StageError, match=r"weights.safetensors cannot be read"):
        load_model(folder, no_user_code)


@pytest.mark.parametrize("arch", [n for n in _zoo.NAMES if n != "shufflenet_v2"])
def test_a_pruned_model_comes_back(tmp_path: Path, arch: str) -> None:
    prepare_torch(0, 1)
    x = torch.rand(2, 3, 32, 32)
    module = build({"arch": arch, "width": 0.5}, INTERFACE, no_user_code).eval()
    heads = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    torch_pruning.pruner.MagnitudePruner(
        module,
        x,
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.4,
        ignored_layers=[heads[-1]],
    ).step()
    fresh = build({"arch": arch, "width": 0.5}, INTERFACE, no_user_code)
    before = sum(p.numel() for p in fresh.parameters())
    description = describe(arch, resized=resizings(module, fresh))
    description["architecture"]["width"] = 0.5
    loaded = load_model(saved(tmp_path, "a", module, description), no_user_code)
    assert torch.equal(loaded(x), module(x))
    assert sum(p.numel() for p in loaded.parameters()) < 0.6 * before
    loaded.train()(x).sum().backward()
    assert all(p.grad is not None for p in loaded.parameters())


class Everything(nn.Module):
    """One of each kind of layer whose size can change; ``c`` is the size."""

    def __init__(self, c: int, groups: int = 2) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, c, 2, 2)
        self.group_norm = nn.GroupNorm(groups, c)
        self.prelu = nn.PReLU(c)
        self.grouped = nn.Conv2d(c, c, 3, padding=1, groups=groups)
        self.instance = nn.InstanceNorm2d(c, affine=True, track_running_stats=True)
        self.scale = nn.Parameter(torch.ones(c, 1, 1))
        self.line = nn.Conv1d(c, c, 3, padding=1)
        self.line_norm = nn.BatchNorm1d(c)
        self.layer_norm = nn.LayerNorm(c)
        self.fc = nn.Linear(c, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.prelu(self.group_norm(self.up(x)))) * self.scale
        x = self.line_norm(self.line(self.instance(x).flatten(2)))
        y: Tensor = self.fc(self.layer_norm(x.mean(2)))
        return y


def test_every_kind_of_layer_can_be_resized() -> None:
    small, fresh = Everything(6, groups=1).eval(), Everything(8)
    found = json.loads(json.dumps(resizings(small, fresh)))
    assert found["grouped"] == {
        "in_channels": 6,
        "out_channels": 6,
        "groups": 1,
        "shapes": {"weight": [6, 6, 3, 3], "bias": [6]},
    }
    assert found[""] == {"shapes": {"scale": [6, 1, 1]}}
    assert found["layer_norm"]["normalized_shape"] == [6]
    resize(fresh, found)
    fresh.load_state_dict(small.state_dict())
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(fresh.eval()(x), small(x))
    assert resizings(fresh, small) == {}


def test_what_is_no_matter_of_sizes_cannot_be_written_down() -> None:
    fresh = _zoo.create("resnet8", classes=5)
    replaced = copy.deepcopy(fresh)
    replaced.fc = nn.Identity()
    with pytest.raises(StageError, match="'fc' cannot be written down: it became a Identity"):
        resizings(replaced, fresh)
    without_bias = copy.deepcopy(fresh)
    without_bias.fc = nn.Linear(64, 5, bias=False)
    with pytest.raises(StageError, match=r"'fc' cannot .* its parameters have other names"):
        resizings(without_bias, fresh)
    more = copy.deepcopy(fresh)
    more.add_module("extra", nn.ReLU())
    with pytest.raises(StageError, match=r"'extra' cannot .* it was added or removed"):
        resizings(more, fresh)


@pytest.mark.parametrize(
    ("resized", "message"),
    [
        ({"nowhere": {"num_features": 2}}, "no module 'nowhere'"),
        ({"bn1": {"eggs": 2}}, "'bn1' has no size 'eggs'"),
        ({"bn1": {"forward": 2}}, "'bn1' has no size 'forward'"),
        ({"bn1": {"shapes": {"eggs": [2]}}}, "'bn1' has no parameter 'eggs'"),
    ],
)
def test_resizings_that_fit_nothing_are_refused(resized: dict[str, Any], message: str) -> None:
    with pytest.raises(StageError, match=message):
        resize(_zoo.create("resnet8", classes=5), resized)


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


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(StageError, match="there is no architecture 'resnet9'"):
        build({"arch": "resnet9"}, INTERFACE, no_user_code)
    with pytest.raises(StageError, match="architecture is not valid"):
        build({"arch": "resnet8", "width": -1}, INTERFACE, no_user_code)
