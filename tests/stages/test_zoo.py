"""Our own architectures: torchvision's names and shapes, published sizes, small images."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch
from torch import nn

from edgepipe_stages import Interface, _zoo
from edgepipe_stages._macs import macs_and_params

# Made from torchvision 0.28 itself: the number of tensors, and a digest of names and shapes.
TORCHVISION = [
    ("efficientnet_b0", 1.0, 360, "98a6d92c040c4bca"),
    ("mobilenet_v2", 1.0, 314, "e3eb10f890f74c6e"),
    ("mobilenet_v2", 0.35, 314, "26bdeaa50edc6960"),
    ("mobilenet_v2", 1.4, 314, "e88da6f17db3b944"),
    ("mobilenet_v3_large", 1.0, 312, "555a3f5e3bcc126e"),
    ("mobilenet_v3_large", 0.75, 312, "57233cda3028bcaf"),
    ("mobilenet_v3_small", 1.0, 244, "8fee267f118ca2d7"),
    ("resnet18", 1.0, 122, "5191d63ec3989592"),
    ("resnet34", 1.0, 218, "f8de2a1812ef85e4"),
    ("resnet50", 1.0, 320, "a87e91cd6bd1f939"),
    ("squeezenet1_1", 1.0, 52, "3fbd2a746421cada"),
    ("shufflenet_v2", 0.5, 338, "83434269737afc7f"),
    ("shufflenet_v2", 1.0, 338, "c54ed350c00fa178"),
    ("shufflenet_v2", 1.5, 338, "c70a4c3a755fe3db"),
    ("shufflenet_v2", 2.0, 338, "20a856e8ae47211d"),
]

# Millions of multiply-accumulates of a 224 × 224 image, as torchvision publishes them.
PUBLISHED = {
    "efficientnet_b0": (386, 5_288_548),
    "mobilenet_v2": (301, 3_504_872),
    "mobilenet_v3_large": (217, 5_483_032),
    "mobilenet_v3_small": (57, 2_542_856),
    "resnet18": (1814, 11_689_512),
    "resnet34": (3664, 21_797_672),
    "resnet50": (4089, 25_557_032),
    "shufflenet_v2": (145, 2_278_604),
    "squeezenet1_1": (349, 1_235_496),
}


@pytest.mark.parametrize(("name", "width", "count", "digest"), TORCHVISION)
def test_parameters_are_those_of_torchvision(
    name: str, width: float, count: int, digest: str
) -> None:
    state = _zoo.create(name, classes=1000, width=width).state_dict()
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    assert len(lines) == count
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_work_and_size_are_as_published(name: str) -> None:
    interface = Interface(224, 224, 3, (0,) * 3, (1,) * 3, tuple(map(str, range(1000))))
    macs, params = macs_and_params(_zoo.create(name, classes=1000), interface)
    assert (round(macs / 1e6), params) == PUBLISHED[name]


@pytest.mark.parametrize("name", _zoo.NAMES)
@pytest.mark.parametrize(
    ("side", "channels", "width", "unstrided"),
    [(8, 1, 0.25, 2), (28, 1, 0.3, 2), (33, 3, 0.5, 2), (64, 3, 0.35, 1), (96, 3, 0.25, 0)],
)
def test_any_image_size_and_width_trains(
    name: str, side: int, channels: int, width: float, unstrided: int
) -> None:
    torch.manual_seed(0)
    model = _zoo.create(name, classes=7, channels=channels, width=width, unstrided=unstrided)
    scores = model(torch.rand(4, channels, side, side))
    assert scores.shape == (4, 7)
    scores.square().sum().backward()
    without = [key for key, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize("name", _zoo.NAMES)
def test_a_small_image_keeps_some_pixels(name: str) -> None:
    last: list[tuple[int, ...]] = []

    def see(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> None:
        last.append(tuple(args[0].shape[2:]))

    model = _zoo.create(name, classes=10, width=0.25, unstrided=2).eval()
    pools = [m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool2d)]
    pools[-1].register_forward_hook(see)
    model(torch.rand(1, 3, 32, 32))
    assert min(last[-1]) >= 3, last


@pytest.mark.parametrize("name", _zoo.NAMES)
def test_relu6_leaves_no_other_activation_but_gates(name: str) -> None:
    model = _zoo.create(name, classes=10, width=0.25, activation="relu6")
    kinds = {type(m) for m in model.modules()}
    assert nn.ReLU6 in kinds
    assert not kinds & {nn.ReLU, nn.Hardswish, nn.SiLU}
    plain = {type(m) for m in _zoo.create(name, classes=10, width=0.25).modules()}
    gates = {nn.Hardsigmoid, nn.Sigmoid}
    assert kinds & gates == plain & gates


@pytest.mark.parametrize("name", _zoo.NAMES)
def test_dropout_can_be_set(name: str) -> None:
    model = _zoo.create(name, classes=10, width=0.25, dropout=0.125)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.125]


def test_macs_count_what_is_called_as_a_function() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(4, 2, 3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = nn.functional.conv2d(x, self.weight, groups=1)
            return y.flatten(1) @ torch.ones(4 * 6 * 8, 5)

    interface = Interface(8, 10, 2, (0,) * 2, (1,) * 2, ("a", "b"))
    model = Functional().train()
    macs = 4 * 2 * 9 * 6 * 8 + 4 * 6 * 8 * 5
    assert macs_and_params(model, interface) == (macs, 72)
    assert model.training


def test_the_names_are_known_without_torch() -> None:
    code = (
        "import sys; from edgepipe_stages import _architecture as a;"
        "a.architecture_problems(a.Architecture.model_validate({'arch': 'mobilenet_v2'}));"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
