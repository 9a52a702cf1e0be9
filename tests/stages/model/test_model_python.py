"""model.python: the user's own networks, made for a data set or for stated images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stage_runs import RunStage
from user_networks import EXPLICIT, load

from edgepipe.stage import StageError
from edgepipe_stages import Interface, TorchModel
from edgepipe_stages.model.python import PythonModel
from edgepipe_stages.train.classifier import TrainClassifier


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
