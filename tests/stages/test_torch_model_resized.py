"""TorchModel artifacts of networks whose layers have other sizes than their architecture says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning
from torch import Tensor, nn
from torch_models import INTERFACE, describe, no_user_code, saved

from edgepipe.stage import StageError
from edgepipe_stages import _zoo
from edgepipe_stages._torch_model import build, load_model, prepare_torch, resize, resizings


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
