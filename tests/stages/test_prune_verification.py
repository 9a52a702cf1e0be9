"""prune.structured removes the right channels, or leaves a layer alone."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import pytest
import torch
from networks_that_reorder import FOLLOWED, REORDERING, Between, Spatial
from safetensors.numpy import load_file
from small_digits import save_digits
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe.usercode import import_user_object
from edgepipe_stages import ImageDataset, Interface
from edgepipe_stages._pruning.channels import ChannelPruner
from edgepipe_stages._torch_model import build, save_model
from edgepipe_stages.prune.structured import PruneStructured

INTERFACE = Interface(16, 16, 3, (0.5,) * 3, (0.5,) * 3, tuple("abcd"))


def pruner(*ignore: str) -> ChannelPruner:
    return ChannelPruner(INTERFACE, importance="l2", round_to=1, ignore=ignore)


def with_dead_channels(network: nn.Module) -> nn.Module:
    """Half of the outputs of ``first`` are zero, here and there."""
    module = copy.deepcopy(network).eval()
    dead = torch.randperm(16, generator=torch.Generator().manual_seed(3))[:8]
    with torch.no_grad():
        module.first.weight[dead] = 0
        module.first.bias[dead] = 0
    return module


@pytest.mark.parametrize("name", REORDERING)
def test_what_did_nothing_goes_and_nothing_else(name: str) -> None:
    module = with_dead_channels(REORDERING[name])
    images = torch.randn(4, *INTERFACE.shape[1:])
    before = module(images)
    with contextlib.suppress(StageError):
        pruner("second", "free").remove_channels(module, 0.5)
    assert torch.allclose(module(images), before, atol=1e-5)


@pytest.mark.parametrize("name", REORDERING)
def test_other_layers_lose_channels_all_the_same(name: str) -> None:
    module = copy.deepcopy(REORDERING[name])
    chosen = pruner()
    chosen.remove_channels(module, 0.5)
    assert chosen.left_alone in ([], ["first"])
    assert len(module.first.weight) == 16
    assert len(module.free.weight) == 8


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_can_be_followed_is(name: str) -> None:
    module = copy.deepcopy(FOLLOWED[name])
    chosen = pruner()
    chosen.remove_channels(module, 0.5)
    assert chosen.left_alone == []
    assert len(module.first.weight) == 8
    assert len(module.free.weight) == 8


def test_a_reduction_of_all_channels_goes_on() -> None:
    module = Between(Spatial())
    chosen = pruner()
    chosen.remove_channels(module, 0.5)
    assert chosen.left_alone == []
    assert len(module.second.weight) == 12


def test_a_network_is_not_changed_by_the_search() -> None:
    module = copy.deepcopy(REORDERING["sorted"])
    before = copy.deepcopy(module.state_dict())
    state = torch.random.get_rng_state()
    with pytest.raises(StageError, match=r"no layer can lose channels \(first\)") as caught:
        pruner("second", "free").remove_channels(module, 0.5)
    assert caught.value.problems[0].hint
    assert torch.equal(torch.random.get_rng_state(), state)
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_layers_that_are_left_alone_are_a_warning(run_stage: RunStage, tmp_path: Path) -> None:
    here = Path(__file__).parent
    data = save_digits(tmp_path / "ten")
    interface = ImageDataset.load(data).interface
    architecture = {"arch": "python:networks_to_prune.py:Padded"}
    module = build(architecture, interface, lambda name: import_user_object(name, here))
    source = tmp_path / "source"
    source.mkdir()
    save_model(source, module, {"interface": interface.as_json(), "architecture": architecture})
    params = {"ratio": 0.5, "epochs": 0}
    ran = run_stage(PruneStructured, params, data=data, model=source, project=here)
    [warning] = [told["message"] for name, told in ran.events if name == "warning"]
    assert warning == (
        "channels that cannot be followed through the network stay: those of stem, and of layers"
        " that are added to them"
    )
    tensors = load_file(ran.outputs["model"] / "weights.safetensors")
    sizes = {n.removesuffix(".weight"): t.shape[0] for n, t in tensors.items() if t.ndim > 1}
    assert sizes == {"stem": 16, "wider": 24, "last": 16, "head": 10}
