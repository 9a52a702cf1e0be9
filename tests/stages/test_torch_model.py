"""TorchModel artifacts: written, read, and refused where their weights do not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch_models import INTERFACE, describe, files, no_user_code, saved

from edgepipe.stage import StageError
from edgepipe_stages import TorchModel, _zoo
from edgepipe_stages._torch_model import build, load_model, load_weights, prepare_torch


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


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(StageError, match="there is no architecture 'resnet9'"):
        build({"arch": "resnet9"}, INTERFACE, no_user_code)
    with pytest.raises(StageError, match="architecture is not valid"):
        build({"arch": "resnet8", "width": -1}, INTERFACE, no_user_code)
