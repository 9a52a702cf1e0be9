"""model.python and model.checkpoint: networks and weights that come from elsewhere."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from stage_runs import Ran, RunStage
from torch import nn

from edgepipe.stage import Stage, StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import Interface, TorchModel, _weights, _zoo
from edgepipe_stages._torch_model import load_model
from edgepipe_stages.data.digits import Digits
from edgepipe_stages.model.checkpoint import Checkpoint
from edgepipe_stages.model.python import PythonModel
from edgepipe_stages.train.classifier import TrainClassifier

SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, channels, hidden=4):
        super().__init__()
        self.model = nn.Sequential(
            nn.Conv2d(channels, hidden, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(hidden, num_classes))

    def forward(self, x):
        return self.model(x)

def two_outputs():
    return Two()

class Two(nn.Module):
    def forward(self, x):
        return x, x

def for_other_images(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))

def in_double(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(240, num_classes)).double()

class Flat(nn.Module):
    # For one image only: what `flat` gives has another shape, or none, for two.
    def __init__(self, num_classes, rows=1):
        super().__init__()
        self.rows, self.last = rows, nn.Linear(240 if rows else 1, num_classes)

    def forward(self, x):
        return self.last(x.reshape(1, -1) if self.rows else x.mean().reshape(1, 1))

def same_for_all(num_classes): return Flat(num_classes, rows=0)

def lazy(num_classes):
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(),
                         nn.LazyLinear(num_classes))

class HeadFirst(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head, self.conv = nn.Linear(4, num_classes), nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))

class HeadOfConvolution(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head, self.conv = nn.Conv2d(4, num_classes, 1), nn.Conv2d(1, 4, 3)

    def forward(self, x):
        return self.head(self.conv(x)).mean((2, 3))

def plain(num_classes):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(360, num_classes))

def too_few(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
"""

EXPLICIT = {
    "image_size": [12, 20],
    "classes": ["a", "b", "c"],
    "mean": [0.5],
    "std": [0.25],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model_python")
    (folder / "mynets.py").write_text(SOURCE)
    return folder


@pytest.fixture(scope="module")
def digits(run_stage: RunStage) -> Path:
    return run_stage(Digits, {"image_size": 16}).outputs["data"]


def load(ran: Ran, project: Path) -> nn.Module:
    return load_model(ran.outputs["model"], lambda name: import_user_object(name, project))


def test_the_users_class_for_a_data_set(run_stage: RunStage, project: Path, digits: Path) -> None:
    params = {"code": "mynets.py:Net", "kwargs": {"hidden": 6}}
    ran = run_stage(PythonModel, params, project=project, data=digits)
    model = load(ran, project)
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 10)
    assert model.model[0].out_channels == 6
    again = run_stage(PythonModel, params, project=project, data=digits)
    files = [sorted(p.read_bytes() for p in r.outputs["model"].iterdir()) for r in (ran, again)]
    assert files[0] == files[1]


def test_the_users_class_for_a_stated_interface(run_stage: RunStage, project: Path) -> None:
    params = {"code": "mynets.py:Net", "interface": EXPLICIT}
    ran = run_stage(PythonModel, params, project=project)
    assert TorchModel.interface(ran.outputs["model"]) == Interface(
        12, 20, 1, (0.5,), (0.25,), ("a", "b", "c")
    )
    assert load(ran, project)(torch.zeros(1, 1, 12, 20)).shape == (1, 3)


def test_lazy_layers_can_be_read_again(run_stage: RunStage, project: Path, digits: Path) -> None:
    ran = run_stage(PythonModel, {"code": "mynets.py:lazy"}, project=project, data=digits)
    trained = run_stage(
        TrainClassifier,
        {"epochs": 1},
        project=project,
        data=digits,
        init=ran.outputs["model"],
    )
    assert load(trained, project)(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


@pytest.mark.parametrize(
    "kind",
    ["safetensors", "pt", "nested", "parallel", "compiled", "model_state", "network", "params"],
)
def test_weights_in_the_ways_that_people_save_them(
    run_stage: RunStage, project: Path, tmp_path: Path, kind: str
) -> None:
    torch.manual_seed(11)
    net = import_user_object("mynets.py:Net", project)(3, 1)
    state = net.state_dict()
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "pt":
        torch.save(state, path)
    elif kind == "nested":
        torch.save({"epoch": 3, "model": {"state_dict": state}, "optimizer": {"lr": 0.1}}, path)
    elif kind in ("model_state", "network", "params"):
        prefixed = {"module." + name: tensor for name, tensor in state.items()}
        torch.save({"epoch": 3, kind: prefixed, "optimizer_state": {"lr": 0.1}}, path)
    else:
        prefix = "module." if kind == "parallel" else "_orig_mod.module."
        torch.save({"state_dict": {prefix + name: t for name, t in state.items()}}, path)
    params = {"code": "mynets.py:Net", "interface": EXPLICIT, "weights": str(path)}
    loaded = load(run_stage(PythonModel, params, project=project), project)
    x = torch.rand(2, 1, 12, 20)
    assert torch.equal(loaded(x), net(x))


def test_names_lose_their_prefix_beside_tensors_that_are_not_the_networks(
    run_stage: RunStage, project: Path, tmp_path: Path
) -> None:
    state = import_user_object("mynets.py:plain", project)(3).state_dict()
    path = tmp_path / "w.ckpt"
    prefixed = {"model." + name: tensor for name, tensor in state.items()}
    torch.save({"state_dict": {**prefixed, "loss.weight": torch.ones(3)}}, path)
    params = {"code": "mynets.py:plain", "interface": EXPLICIT, "weights": str(path)}
    with pytest.raises(StageError, match="1 of 5 tensors differ") as caught:
        run_stage(PythonModel, params, project=project)
    assert caught.value.problems[0].hint == "loss.weight is unexpected"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two_outputs", "the network gives tuple for one image, not (1, 3)"),
        ("in_double", "the network's '1.weight' is float64, but images come as float32"),
        ("for_other_images", "the network does not run on an image of (1, 12, 20)"),
        ("Flat", "the network runs on one image, but not on two at once: mat1 and mat2"),
        ("same_for_all", "the network gives (1, 3) for two images, not (2, 3)"),
        ("Nut", "mynets.py has no 'Nut'"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    run_stage: RunStage, project: Path, name: str, message: str
) -> None:
    params = {"code": f"mynets.py:{name}", "interface": EXPLICIT}
    with pytest.raises(StageError) as caught:
        run_stage(PythonModel, params, project=project)
    assert message in str(caught.value)


def write_checkpoint(path: Path, classes: int = 10, **changes: Any) -> Path:
    torch.manual_seed(5)
    model = _zoo.create("resnet8", classes=classes, channels=1, unstrided=2)
    torch.save({**model.state_dict(), **changes}, path)
    return path


def checkpoint(weights: Path, **params: Any) -> dict[str, Any]:
    return {"model": {"arch": "resnet8"}, "weights": str(weights), **params}


def test_a_checkpoint_of_a_known_architecture(
    run_stage: RunStage, tmp_path: Path, digits: Path
) -> None:
    ran = run_stage(Checkpoint, checkpoint(write_checkpoint(tmp_path / "w.pt")), data=digits)
    torch.manual_seed(5)
    model = _zoo.create("resnet8", classes=10, channels=1, unstrided=2).eval()
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(load(ran, tmp_path)(x), model(x))


def test_old_files_without_batch_counters(
    run_stage: RunStage, tmp_path: Path, digits: Path
) -> None:
    path = write_checkpoint(tmp_path / "w.pt")
    state = torch.load(path)
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    run_stage(Checkpoint, checkpoint(path), data=digits)


def test_another_number_of_classes_only_if_asked(
    run_stage: RunStage, tmp_path: Path, digits: Path
) -> None:
    path = write_checkpoint(tmp_path / "w.pt", classes=1000)
    with pytest.raises(StageError) as caught:
        run_stage(Checkpoint, checkpoint(path), data=digits)
    assert caught.value.problems[0].hint.splitlines() == [
        "fc.weight: (10, 64) expected, (1000, 64) found",
        "fc.bias: (10,) expected, (1000,) found",
    ]
    ran = run_stage(Checkpoint, checkpoint(path, head="reinitialize"), data=digits)
    warnings = [data["message"] for kind, data in ran.events if kind == "warning"]
    assert warnings == ["random weights for the last layer: fc.weight, fc.bias"]
    loaded = load(ran, tmp_path).state_dict()
    assert loaded["fc.weight"].shape == (10, 64)
    assert torch.equal(loaded["conv1.weight"], torch.load(path)["conv1.weight"])
    wrong = write_checkpoint(tmp_path / "x.pt", **{"conv1.weight": torch.zeros(16, 3, 3, 3)})
    with pytest.raises(StageError, match="the weights do not fit the model: 1 of"):
        run_stage(Checkpoint, checkpoint(wrong, head="reinitialize"), data=digits)


@pytest.mark.parametrize(
    ("name", "replaced"),
    [("HeadFirst", "head.weight, head.bias"), ("HeadOfConvolution", "head.weight, head.bias")],
)
def test_the_last_layer_is_the_one_that_runs_last(
    run_stage: RunStage, project: Path, tmp_path: Path, digits: Path, name: str, replaced: str
) -> None:
    old = import_user_object(f"mynets.py:{name}", project)(7)
    torch.save(old.state_dict(), tmp_path / "w.pt")
    params = {
        "model": {"arch": f"python:mynets.py:{name}"},
        "weights": str(tmp_path / "w.pt"),
        "head": "reinitialize",
    }
    ran = run_stage(Checkpoint, params, project=project, data=digits)
    warnings = [event["message"] for kind, event in ran.events if kind == "warning"]
    assert warnings == [f"random weights for the last layer: {replaced}"]
    loaded = load(ran, project)
    assert torch.equal(loaded.conv.weight, old.conv.weight)
    assert loaded(torch.zeros(2, 1, 16, 16)).shape == (2, 10)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("way", ["torch", "legacy", "pickle", "module"])
def test_a_file_that_carries_code_is_refused_and_its_code_not_run(
    run_stage: RunStage, tmp_path: Path, digits: Path, way: str
) -> None:
    path, trace = tmp_path / "w.pt", tmp_path / "trace"
    value: Any = {"state_dict": Evil(trace)}
    if way == "pickle":
        path.write_bytes(pickle.dumps(value))
    elif way == "module":
        torch.save(nn.Linear(2, 2), path)
    else:
        torch.save(value, path, _use_new_zipfile_serialization=way == "torch")
    with pytest.raises(StageError) as caught:
        run_stage(Checkpoint, checkpoint(path), data=digits)
    (problem,) = caught.value.problems
    assert problem.message.startswith("w.pt carries more than tensors, and was not read")
    assert "model.state_dict()" in problem.hint
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "w.pt is no valid PyTorch file"),
        (b"PK\3\4 broken", "w.pt "),
        (b"not a checkpoint", "w.pt "),
    ],
)
def test_damaged_files(
    run_stage: RunStage, tmp_path: Path, digits: Path, content: bytes, message: str
) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(StageError, match=message):
        run_stage(Checkpoint, checkpoint(tmp_path / "w.pt"), data=digits)
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(StageError, match=r"w.safetensors is no valid safetensors file"):
        run_stage(Checkpoint, checkpoint(tmp_path / "w.safetensors"), data=digits)


STATE = {"weight": torch.zeros(3)}


@pytest.mark.parametrize(
    ("value", "said", "hint"),
    [
        ([1, 2], "but a value of type list", "torch.save(model.state_dict(), …)"),
        (torch.zeros(3), "but a value of type Tensor", "torch.save(model.state_dict(), …)"),
        ({}, ": it is empty", "found as state_dict, model_state_dict, model_state,"),
        ({"epoch": 3, "lr": 0.1}, ": its keys are 'epoch', 'lr'", "found as state_dict,"),
        ({**STATE, "epoch": 3}, ": beside tensors it holds 'epoch'", "found as state_dict,"),
        (
            {"epoch": 3, "generator": STATE, "critic": STATE},
            ": its keys are 'epoch', 'generator', 'critic'",
            "if 'generator' or 'critic' is the network, save that part alone with torch.save",
        ),
        (
            {"model_state": {"backbone": STATE, "head": STATE}},
            ": its keys are 'backbone', 'head'",
            "if 'backbone' or 'head' is the network",
        ),
        (dict.fromkeys("abcdefg", 1), ": its keys are 'a', 'b', 'c', 'd', 'e' and 2 more", ""),
    ],
)
def test_files_without_a_state_dict(
    run_stage: RunStage, tmp_path: Path, digits: Path, value: Any, said: str, hint: str
) -> None:
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(StageError) as caught:
        run_stage(Checkpoint, checkpoint(tmp_path / "w.pt"), data=digits)
    (problem,) = caught.value.problems
    assert f"w.pt holds no state dict{' ' * (said[0] != ':')}{said}" in problem.message
    assert hint in problem.hint


def test_a_file_that_inflates_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("archive/data.pkl", "archive/data/0", "archive/data/1"):
            archive.writestr(name, bytes(77))
    # The directory at the end says how large each entry becomes.
    size, claimed = struct.pack("<I", 77), struct.pack("<I", 2**31)
    content = path.read_bytes()
    directory = content.index(b"PK\1\2")
    path.write_bytes(content[:directory] + content[directory:].replace(size, claimed))
    with pytest.raises(StageError, match=r"bomb\.pt holds \d{10} bytes, more than 4294967296"):
        _weights.read_weights(path, nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("stage", "params", "connected", "expected"),
    [
        (PythonModel, {"code": "a.py:B"}, {"data"}, []),
        (PythonModel, {"code": "a.py:B"}, set(), [""]),
        (PythonModel, {"code": "a.py:B", "interface": EXPLICIT}, {"data"}, ["interface"]),
        (
            PythonModel,
            {
                "code": "a.py:B",
                "interface": {"image_size": [0, 9], "classes": ["a", "b"], "mean": [0, 0]},
            },
            set(),
            ["interface.image_size", "interface.mean"],
        ),
        (Checkpoint, {"model": {"arch": "resnet9"}, "weights": "w.pt"}, {"data"}, ["model.arch"]),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(
    stage: type[Stage], params: dict[str, Any], connected: set[str], expected: list[str]
) -> None:
    import json

    found = stage.model_validate_json(json.dumps(params), strict=True).preflight(
        frozenset(connected)
    )
    assert [parameter for parameter, _, _ in found] == expected
