"""Multiply-accumulates of PyTorch networks, whichever operators their layers become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from edge_models import save_onnx
from torch import Tensor, nn
from torch.nn import functional as F

from edgepipe_stages import Interface
from edgepipe_stages._macs import macs_and_params, work_of
from edgepipe_stages._onnx_export import to_onnx
from edgepipe_stages._runtime import runtime_of

INTERFACE = Interface(16, 8, 3, (0.5,) * 3, (0.5,) * 3, ("a", "b"))
STEPS, WIDTH, HEADS = 48, 8, 2
ATTENTION = STEPS * WIDTH * 4 * WIDTH + 2 * STEPS * STEPS * WIDTH


class On(nn.Module):
    """A layer on the image's rows: a sequence of vectors."""

    def __init__(self, use: Callable[..., Tensor], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.use = use
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1, 2)
        return self.use(rows, self.layer) if self.layer else self.use(rows)


def attention(weights: bool) -> Callable[..., Tensor]:
    return lambda x, layer: layer(x, x, x, need_weights=weights)[0]


def encoder(**settings: bool) -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 20, batch_first=True, **settings)


def heads(x: Tensor) -> Tensor:
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


def recurrent(kind: type[nn.RNNBase], **settings: Any) -> nn.Module:
    return On(lambda x, layer: layer(x)[0], kind(WIDTH, 5, batch_first=True, **settings))


EXPORTED = {
    "encoder layer": (
        On(lambda x, layer: layer(x), encoder()),
        ATTENTION + 2 * STEPS * WIDTH * 20,
    ),
    "encoder": (
        On(lambda x, layer: layer(x), nn.TransformerEncoder(encoder(), 2)),
        2 * (ATTENTION + 2 * STEPS * WIDTH * 20),
    ),
    "attention": (
        On(attention(False), nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)),
        ATTENTION,
    ),
    "attention with weights": (
        On(attention(True), nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)),
        ATTENTION,
    ),
    "attention function": (
        On(lambda x: F.scaled_dot_product_attention(heads(x), heads(x), heads(x)[..., :3])),
        STEPS * STEPS * (WIDTH + HEADS * 3),
    ),
    "lstm": (recurrent(nn.LSTM), STEPS * 4 * 5 * (WIDTH + 5)),
    "lstm, two layers both ways": (
        recurrent(nn.LSTM, num_layers=2, bidirectional=True),
        2 * STEPS * 4 * 5 * (WIDTH + 5 + 10 + 5),
    ),
    "gru": (recurrent(nn.GRU), STEPS * 3 * 5 * (WIDTH + 5)),
    "gru, two layers both ways": (
        recurrent(nn.GRU, num_layers=2, bidirectional=True),
        2 * STEPS * 3 * 5 * (WIDTH + 5 + 10 + 5),
    ),
    "rnn": (recurrent(nn.RNN, nonlinearity="relu"), STEPS * 5 * (WIDTH + 5)),
    "vector": (On(lambda x: x @ torch.ones(WIDTH)), STEPS * WIDTH),
    "einsum": (On(lambda x: torch.einsum("btc,dc->btd", x, torch.ones(5, WIDTH))), STEPS * 40),
    "einsum of elements": (On(lambda x: torch.einsum("btc,c->btc", x, torch.ones(WIDTH))), 0),
    "dot": (On(lambda x: x.flatten().dot(x.flatten())), STEPS * WIDTH),
    "batches, sum": (On(lambda x: torch.baddbmm(x, x, torch.ones(1, 8, 8))), STEPS * 64),
    "in place": (On(lambda x: x[0].clone().addmm_(x[0], torch.ones(8, 8))), STEPS * 64),
}
ONLY_HERE = {
    # ONNX's LSTM has no projection, and no operator for the others.
    "lstm, projected": (
        recurrent(nn.LSTM, proj_size=3),
        STEPS * (4 * 5 * (WIDTH + 3) + 5 * 3),
    ),
    "bilinear": (On(lambda x, layer: layer(x, x), nn.Bilinear(WIDTH, WIDTH, 5)), STEPS * 64 * 5),
    "vector, sum": (On(lambda x: torch.addmv(x[0, :, 0], x[0], x[0, 0])), STEPS * WIDTH),
    "batches, summed": (On(lambda x: torch.addbmm(x[0], x, torch.ones(1, 8, 8))), STEPS * 64),
}


def macs(module: nn.Module) -> int:
    return macs_and_params(module, INTERFACE)[0]


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("name", EXPORTED | ONLY_HERE)
def test_by_formula(name: str) -> None:
    module, expected = (EXPORTED | ONLY_HERE)[name]
    assert macs(module) == expected


@pytest.mark.parametrize("name", EXPORTED)
def test_as_many_as_the_exported_file_has(tmp_path: Path, name: str) -> None:
    module, _ = EXPORTED[name]
    runtime = runtime_of(save_onnx(tmp_path / "m", module, (3, 16, 8)))(tmp_path / "m", 1, str)
    work = runtime.work()
    assert work.macs == macs(module)
    assert not work.uncounted


@pytest.mark.parametrize("dynamic_batch", [True, False])
@pytest.mark.parametrize("name", [name for name in EXPORTED if "lstm" in name or "gru" in name])
def test_as_many_parameters_as_the_exported_file_has(
    tmp_path: Path, name: str, dynamic_batch: bool
) -> None:
    module, _ = EXPORTED[name]
    model = to_onnx(module.eval(), torch.zeros(1, 3, 16, 8), 14, dynamic_batch)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    work = runtime_of(tmp_path)(tmp_path, 1, str).work()
    assert work.macs == macs(module)
    assert work.parameters == sum(p.numel() for p in module.parameters())


def test_operators_of_another_library_are_named() -> None:
    with torch.library._scoped_library("edgepipe_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2, "CPU")
        work = work_of(On(lambda x: torch.ops.edgepipe_test.twice(x)), INTERFACE)
    assert work.macs == 0
    assert work.uncounted == ("edgepipe_test.twice",)


def test_layers_run_as_fast_as_before_afterwards() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    macs(EXPORTED["encoder"][0])
    assert torch.backends.mha.get_fastpath_enabled() == before
