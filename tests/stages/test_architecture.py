"""The parameters that name a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import pytest
from pydantic import ValidationError

from edgepipe_stages._architecture import Architecture, architecture_problems


def parse(params: Mapping[str, Any]) -> Architecture:
    return Architecture.model_validate_json(json.dumps(params), strict=True)


@pytest.mark.parametrize(
    ("params", "parameter", "message", "hint"),
    [
        (
            {"arch": "mobilnet_v2"},
            "model.arch",
            "there is no architecture 'mobilnet_v2'",
            "did you mean 'mobilenet_v2'?",
        ),
        (
            {"arch": "tim:resnet10t"},
            "model.arch",
            "'tim:' is not where an architecture can come from",
            "did you mean 'timm'?",
        ),
        (
            {"arch": "resnet8", "kwargs": {"depth": 3}},
            "model.kwargs",
            "'resnet8' takes no keyword arguments",
            "use width",
        ),
        (
            {"arch": "python:nets.py"},
            "model.arch",
            "'python:nets.py' names no architecture",
            "write python:FILE.py:NAME",
        ),
        (
            {"arch": "python:nets.py:Net", "width": 0.5},
            "model.width",
            "'width' is for our own architectures, not for 'python:nets.py:Net'",
            "kwargs",
        ),
    ],
)
def test_what_is_wrong_is_said(
    params: Mapping[str, Any], parameter: str, message: str, hint: str
) -> None:
    ((where, what, then),) = architecture_problems(parse(params))
    assert (where, what) == (parameter, message)
    assert hint in then


@pytest.mark.parametrize("name", ["timm:resnet10t", "torchvision:resnet18"])
def test_a_library_that_is_not_installed_is_named(name: str) -> None:
    library = name.partition(":")[0]
    found = architecture_problems(parse({"arch": name}), prefix="")
    if find_spec(library) is None:
        assert [(where, hint) for where, _, hint in found] == [
            ("arch", "pip install 'edgepipe[zoo]'")
        ]
        assert library in found[0][1]
    else:
        assert found == []


@pytest.mark.parametrize(
    "params",
    [
        {"arch": "resnet8", "width": 0},
        {"arch": "resnet8", "width": 5},
        {"arch": "resnet8", "dropout": 1},
        {"arch": "resnet8", "depth": 3},
        {"arch": "resnet8", "kwargs": {"a": [1]}},
        {"width": 1},
    ],
)
def test_parameters_are_bounded(params: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(params)


@pytest.mark.parametrize(
    ("stem", "side", "unstrided"),
    [
        ("reduced", 32, 1),
        ("auto", 32, 2),
        ("auto", 64, 1),
        ("auto", 224, 0),
        ("imagenet", 32, 0),
        ("small", 224, 2),
    ],
)
def test_the_stem_follows_the_image(stem: str, side: int, unstrided: int) -> None:
    assert parse({"arch": "resnet8", "stem": stem}).unstrided(side, side + 40) == unstrided
