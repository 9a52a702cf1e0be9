"""Graphs of model files: operations by formula, and the same for every runtime's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edge_models import Models, digits_net, save_onnx
from onnx_texts import save_text, scale, small, zero
from stage_runs import RunStage
from torch import Tensor, nn
from torch.nn import functional as F

from edgepipe.stage import StageError
from edgepipe_stages import TorchModel
from edgepipe_stages._graph import Product, canonical, dequantize, onnx_file, outputs_first
from edgepipe_stages._graph.tflite_file import File
from edgepipe_stages._macs import macs_and_params
from edgepipe_stages._parity.divergence import compare
from edgepipe_stages._parity.trace import trace
from edgepipe_stages._runtime import runtime_of
from edgepipe_stages._runtime.onnx_runtime import OnnxRuntime
from edgepipe_stages._torch_model import load_model
from edgepipe_stages._work import Work


@pytest.fixture(scope="module")
def models(run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return digits_net(run_stage, tmp_path_factory.getbasetemp(), "resnet8")


class SelfProduct(nn.Module):
    """Two matrix products: with weights, and of two activations."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return torch.matmul(y, y.transpose(-1, -2))


CASES = {
    "plain": (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 9, 7), 8 * 3 * 9 * 5 * 4, 8 * 28),
    "depthwise": (nn.Conv2d(6, 6, 3, groups=6, bias=False), (6, 8, 8), 6 * 9 * 36, 54),
    "grouped": (nn.Conv2d(6, 4, 1, groups=2), (6, 5, 5), 4 * 3 * 25, 4 * 4),
    "dilated": (nn.Conv2d(2, 3, 3, dilation=2, bias=False), (2, 9, 9), 3 * 2 * 9 * 25, 54),
    "transposed": (
        nn.ConvTranspose2d(4, 3, 2, stride=2, bias=False),
        (4, 5, 5),
        25 * 4 * 3 * 4,
        48,
    ),
    "linear": (nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), (3, 2, 2), 60, 65),
    "products": (SelfProduct(), (1, 4, 5), 4 * 5 * 7 + 4 * 4 * 7, 35),
}


@pytest.mark.parametrize("name", CASES)
def test_operations_by_formula(tmp_path: Path, name: str) -> None:
    module, shape, macs, parameters = CASES[name]
    runtime = runtime_of(save_onnx(tmp_path / "m", module, shape))(tmp_path / "m", 1, str)
    assert runtime.work() == Work(macs, parameters)


def test_every_file_of_a_network_has_the_same_operations(models: Models) -> None:
    module = load_model(models.torch, str)
    macs, _ = macs_and_params(module, TorchModel.interface(models.torch))
    folded = sum(
        part.weight.numel() + len(part.weight)
        for part in module.modules()
        if isinstance(part, nn.Conv2d | nn.Linear)
    )
    for path in (models.onnx, models.static, *models.tflite.values()):
        assert runtime_of(path)(path, 1, str).work() == Work(macs, folded), path


def test_weights_are_those_of_torch(models: Models) -> None:
    module = load_model(models.torch, str)
    first = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
    weight = first.weight.detach().numpy()
    expected = weight / np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    files = [onnx_file.read(onnx_file.load(p / "model.onnx")) for p in (models.onnx, models.static)]
    files += [File(path / "model.tflite").read() for path in models.tflite.values()]
    for graph in files:
        product = graph.products[0].product
        assert isinstance(product, Product)
        assert product.weight is not None
        scale = np.abs(product.weight).max(axis=(1, 2, 3), keepdims=True)
        signs = np.sign((product.weight * weight).sum(axis=(1, 2, 3), keepdims=True))
        assert np.abs(product.weight / scale * signs - expected).max() < 0.01


def test_products_that_feed_a_tensor(models: Models) -> None:
    graph = onnx_file.read(onnx_file.load(models.onnx / "model.onnx"))
    joins = [op for op in graph.ops if op.type == "Add"]
    assert joins
    for join in joins:
        feeding = graph.feeding(join.outputs[0])
        assert len(feeding) == 2 or join is joins[0]
        assert all(op.product for op in feeding)
    last = graph.products[-1]
    assert graph.feeding(graph.output) == [last]
    assert last.product
    assert next(graph.back(last.product.data)) == last.product.data
    assert graph.producer(last.outputs[0]) == last
    assert graph.producer("image") is None


def test_a_transposed_weight_as_that_of_a_convolution() -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False)
    x = torch.randn(1, 4, 5, 5)
    weight = torch.from_numpy(outputs_first(layer.weight.detach().numpy(), 2))
    assert weight.shape == (6, 2, 3, 3)
    same = F.conv2d(x, weight.flip(2, 3), padding=2, groups=2)
    assert torch.allclose(layer(x), same, atol=1e-5)


class Weighing(nn.Module):
    """Each position's channels weighed and summed: a product with a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.arange(1.0, 6.0))

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weights).flatten(1)


def test_a_vector_of_weights_is_a_layer_of_one_output(tmp_path: Path) -> None:
    module = Weighing().eval()
    folder = save_onnx(tmp_path / "m", module, (1, 4, 5))
    runtime = OnnxRuntime(folder, 1, str)
    weights = [op.product.weight for op in runtime.graph().products if op.product]
    images = np.random.default_rng(0).normal(size=(2, 1, 4, 5)).astype(np.float32)
    traced = trace(module, images)
    for weight in (*weights, traced.products[0].weight):
        assert weight is not None
        assert weight.tolist() == [[1, 2, 3, 4, 5]]
    [layer] = compare(traced, runtime, images, "float32").layers
    assert layer.weights == pytest.approx(1)
    assert layer.output_db is not None
    assert layer.output_db > 100


SCALES = np.array([0.5, 1, 2, 4, 8], np.float32)
ONES = {"xs": scale(), "xz": zero(dtype=np.uint8)}
QUANTIZED = "q = Cast <to = 2> (x) i = {} y = DequantizeLinear (i, xs, xz)"
MATMUL = QUANTIZED.format("QLinearMatMul (q, xs, xz, w, ws, wz, xs, xz)")


@pytest.mark.parametrize(
    ("body", "weight", "scales", "expected"),
    [
        (MATMUL, (4, 5), SCALES, (5, 4)),
        (MATMUL, (2, 4, 5), SCALES, (2, 5, 4)),
        (MATMUL, (2, 4, 5), SCALES * np.ones((2, 1, 1), np.float32), (2, 5, 4)),
        (MATMUL, (4,), np.float32(0.5), (1, 4)),
        (
            "q = Cast <to = 2> (x) y = com.microsoft.QGemm (q, xs, xz, w, ws, wz)",
            (4, 5),
            SCALES,
            (5, 4),
        ),
        (
            "q = Cast <to = 2> (x) y = com.microsoft.QGemm <transB = 1> (q, xs, xz, w, ws, wz)",
            (5, 4),
            SCALES,
            (5, 4),
        ),
    ],
)
def test_scales_lie_along_the_outputs(
    tmp_path: Path,
    body: str,
    weight: tuple[int, ...],
    scales: np.ndarray,
    expected: tuple[int, ...],
) -> None:
    values = {"w": small(*weight), "ws": scales, "wz": np.zeros(np.shape(scales), np.int8)}
    shape = "2,3,4" if len(weight) == 3 else "3,4"
    model = onnx_file.load(save_text(tmp_path, body, ONES | values, shape) / "model.onnx")
    [op] = onnx_file.read(model).products
    assert op.product
    assert op.product.weight is not None
    assert op.product.weight.shape == expected
    each = np.full(1, scales) if scales.ndim == 0 else SCALES
    whole = op.product.weight / each[:, None]
    assert np.allclose(whole, np.round(whole))
    assert sorted(whole.ravel()) == sorted(values["w"].ravel())


def test_a_scale_that_is_computed(tmp_path: Path) -> None:
    body = MATMUL.replace("(x)", "(x) ws = Abs (given)", 1)
    values = {"w": small(4, 5), "given": scale(5), "wz": zero(5)}
    model = onnx_file.load(save_text(tmp_path, body, ONES | values, "3,4") / "model.onnx")
    [op] = onnx_file.read(model).products
    assert op.product
    assert op.product.weight is None


def test_a_kernel_of_one_pixel_is_left_out() -> None:
    assert canonical(np.zeros((4, 3, 1, 1))).shape == (4, 3)
    assert canonical(np.zeros((4, 1, 3, 3))).shape == (4, 1, 3, 3)
    assert canonical(np.zeros((4, 1))).shape == (4, 1)


def test_integers_as_real_numbers() -> None:
    values = np.array([[0, 10], [20, 30]], np.int8)
    assert dequantize(values, 0.5, 10, 0).tolist() == [[-5, 0], [5, 10]]
    assert dequantize(values, [1, 2], [0, 10], 0).tolist() == [[0, 10], [20, 40]]
    assert dequantize(values, [1, 2], [0, 10], 1).tolist() == [[0, 0], [20, 40]]
    assert dequantize(values, [1, 2], [0], -1).tolist() == [[0, 20], [20, 60]]


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"something else")
    with pytest.raises(StageError, match="not a TFLite flatbuffer"):
        File(tmp_path / "model.tflite")
    (tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(StageError, match="not a valid ONNX model"):
        onnx_file.load(tmp_path / "model.onnx")


def test_weights_in_another_file_are_refused(models: Models, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(models.onnx / "model.onnx")
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin")
    with pytest.raises(StageError, match="keeps its weights in another file"):
        onnx_file.load(tmp_path / "model.onnx")
