"""Multiply-accumulates of PyTorch networks, whichever operators their layers become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from edge_models import save_onnx
from torch import Tensor, nn
from torch.nn import functional as F

from edgepipe_stages import Interface
from edgepipe_stages._macs import macs_and_params
from edgepipe_stages._runtime import runtime_of

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


def recurrent(kind: type[nn.RNNBase], **settings: bool) -> nn.Module:
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
}
ONLY_HERE = {
    "lstm": (recurrent(nn.LSTM), STEPS * 4 * 5 * (WIDTH + 5)),
    "lstm, both ways": (
        recurrent(nn.LSTM, bidirectional=True),
        2 * STEPS * 4 * 5 * (WIDTH + 5),
    ),
    "gru": (recurrent(nn.GRU), STEPS * 3 * 5 * (WIDTH + 5)),
    "rnn": (recurrent(nn.RNN), STEPS * 5 * (WIDTH + 5)),
    "vector": (On(lambda x: x @ torch.ones(WIDTH)), STEPS * WIDTH),
    "einsum": (On(lambda x: torch.einsum("btc,dc->btd", x, torch.ones(5, WIDTH))), STEPS * 40),
    "bilinear": (On(lambda x, layer: layer(x, x), nn.Bilinear(WIDTH, WIDTH, 5)), STEPS * 64 * 5),
    "dot": (On(lambda x: x.flatten().dot(x.flatten())), STEPS * WIDTH),
    "vector, sum": (On(lambda x: torch.addmv(x[0, :, 0], x[0], x[0, 0])), STEPS * WIDTH),
    "batches, sum": (On(lambda x: torch.baddbmm(x, x, torch.ones(1, 8, 8))), STEPS * 64),
    "batches, summed": (On(lambda x: torch.addbmm(x[0], x, torch.ones(1, 8, 8))), STEPS * 64),
    "in place": (On(lambda x: x[0].clone().addmm_(x[0], torch.ones(8, 8))), STEPS * 64),
}


def macs(module: nn.Module) -> int:
    interface = Interface(16, 8, 3, (0.5,) * 3, (0.5,) * 3, ("a", "b"))
    return macs_and_params(module, interface)[0]


@pytest.mark.parametrize("name", EXPORTED | ONLY_HERE)
def test_by_formula(name: str) -> None:
    module, expected = (EXPORTED | ONLY_HERE)[name]
    assert macs(module) == expected


@pytest.mark.parametrize("name", EXPORTED)
def test_as_many_as_the_exported_file_has(tmp_path: Path, name: str) -> None:
    module, _ = EXPORTED[name]
    runtime = runtime_of(save_onnx(tmp_path / "m", module, (3, 16, 8)))(tmp_path / "m", 1, str)
    assert runtime.macs_and_parameters()[0] == macs(module)


def test_layers_run_as_fast_as_before_afterwards() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    macs(EXPORTED["encoder"][0])
    assert torch.backends.mha.get_fastpath_enabled() == before
