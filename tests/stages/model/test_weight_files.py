"""Files of weights: all ways in which people save them are read, and no code in them is run."""

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
from stage_runs import RunStage
from torch import nn
from user_networks import EXPLICIT, checkpoint, load

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import _weights
from edgepipe_stages.model.checkpoint import Checkpoint
from edgepipe_stages.model.python import PythonModel


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
