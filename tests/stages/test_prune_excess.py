"""prune.structured says when more goes than was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_digits import save_digits
from stage_runs import Ran, RunStage

from edgepipe.usercode import import_user_object
from edgepipe_stages import ImageDataset
from edgepipe_stages._pruning.excess import excess_of_channels
from edgepipe_stages._torch_model import build, save_model
from edgepipe_stages.prune.structured import PruneStructured

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_digits(tmp_path_factory.mktemp("data") / "ten")


@pytest.fixture
def prune(run_stage: RunStage, data: Path, tmp_path: Path) -> Any:
    def run(name: str, **params: Any) -> Ran:
        interface = ImageDataset.load(data).interface
        architecture = {"arch": f"python:networks_to_prune.py:{name}"}
        module = build(architecture, interface, lambda name: import_user_object(name, HERE))
        path = tmp_path / name
        path.mkdir()
        save_model(path, module, {"interface": interface.as_json(), "architecture": architecture})
        return run_stage(
            PruneStructured, {"epochs": 0, **params}, data=data, model=path, project=HERE
        )

    return run


def warnings(ran: Ran) -> list[str]:
    return [told["message"] for name, told in ran.events if name == "warning"]


def test_more_macs_than_asked_for(prune: Any) -> None:
    ran = prune("FewSizes", macs_ratio=0.2, round_to=8)
    assert ran.metrics["macs_removed"] > 0.5
    [warning] = warnings(ran)
    assert warning == (
        f"{ran.metrics['macs_removed']:.0%} of the multiply-accumulates went where macs_ratio asks"
        " for 20%: the network has few numbers of channels that are multiples of 8; lower round_to"
        " for a finer choice"
    )


def test_as_many_macs_as_asked_for(prune: Any) -> None:
    ran = prune("FewSizes", macs_ratio=0.2, round_to=1)
    assert 0.2 <= ran.metrics["macs_removed"] < 0.3
    assert warnings(ran) == []


def test_more_channels_than_asked_for() -> None:
    before = {"gated": 32, "plain": 24, "small": 6}
    after = {"gated": 8, "plain": 12, "small": 6}
    warning = excess_of_channels(0.5, before, after, 1)
    assert warning == (
        "layers lost more channels than the 50% that ratio asks for (gated 75%), as some of their"
        " channels go only together; lower ratio, or name them in 'ignore'"
    )


def test_rounded_numbers_of_channels_are_no_excess() -> None:
    assert excess_of_channels(0.3, {"a": 12}, {"a": 8}, 8) is None
    assert excess_of_channels(0.4, {"a": 16}, {"a": 8}, 8) is None


@pytest.mark.parametrize("name", ["Branches", "Grouped", "Dense"])
@pytest.mark.parametrize("round_to", [1, 8])
def test_as_many_channels_as_asked_for(prune: Any, name: str, round_to: int) -> None:
    assert warnings(prune(name, ratio=0.5, round_to=round_to)) == []
