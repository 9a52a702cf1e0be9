from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_tf_modules import MODULES, Residual
from tflite_runs import run_tflite
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import _zoo
from edgepipe_stages._onnx_export import to_onnx
from edgepipe_stages._tensorflow import import_tensorflow
from edgepipe_stages._tflite import convert_tflite, summarize

import_tensorflow()

from edgepipe_stages._onnx_tf.convert import write_saved_model  # noqa: E402
from edgepipe_stages._onnx_tf.graph import layer  # noqa: E402

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def to_tflite(tmp_path):
    def convert(model, layout="nhwc", precision="float32", samples=None):
        folder = tmp_path / f"saved_model_{len(list(tmp_path.iterdir()))}"
        write_saved_model(model, folder, layout)
        return convert_tflite(folder, precision, samples)

    return convert


def channels_last(images: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))


@torch.no_grad()
def expected(module: nn.Module, images: torch.Tensor = IMAGES) -> np.ndarray:
    return torch.cat([module(image[None]) for image in images]).numpy()


@pytest.mark.parametrize("name", MODULES)
def test_module_gives_what_torch_gives(name, to_tflite):
    torch.manual_seed(1)
    make, transposes = MODULES[name]
    module = make().eval()
    model = to_tflite(to_onnx(module, IMAGES[:1], 14, dynamic_batch=True))
    want = expected(module)
    got = run_tflite(model, channels_last(IMAGES))
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    # An output with spatial axes is turned back into ONNX's order.
    allowed = transposes + (want.ndim > 2)
    assert summarize(model).operators["TRANSPOSE"] <= allowed


INT8 = ["cbam", "elu", "selu", "mish", "clamp", "maximum", "where", "max pool pad", "conv groups",
        "prelu", "gelu", "avg pool pad", "linear excite", "layer norm", "softmax channels"]  # fmt: skip


@pytest.mark.parametrize("name", INT8)
def test_int8_model_is_int8_throughout_and_near(name, to_tflite):
    torch.manual_seed(1)
    module = MODULES[name][0]().eval()
    images = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    onnx_model = to_onnx(module, images[:1], 14, dynamic_batch=False)
    model = to_tflite(onnx_model, precision="int8", samples=channels_last(images))
    want = expected(module, images[:4])
    got = run_tflite(model, channels_last(images[:4]))
    assert summarize(model).float_tensors == []
    assert np.abs(got - want).max() <= 0.05 * np.ptp(want)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "resnet8", "squeezenet1_1"])
def test_networks_need_no_transpose(name, to_tflite):
    torch.manual_seed(1)
    module = _zoo.create(name, classes=7, channels=1, width=0.25, unstrided=1).eval()
    images = torch.randn(2, 1, 40, 24)
    model = to_tflite(to_onnx(module, images[:1], 14, dynamic_batch=True))
    want = expected(module, images)
    got = run_tflite(model, channels_last(images))
    assert np.abs(got - want).max() <= 1e-4 * np.abs(want).max()
    assert summarize(model).operators["TRANSPOSE"] == 0


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
def test_every_opset_that_the_exporter_writes(opset, to_tflite):
    torch.manual_seed(1)
    module = MODULES["transformer"][0]().eval() if opset >= 14 else Residual().eval()
    model = to_tflite(to_onnx(module, IMAGES[:1], opset, dynamic_batch=True))
    want = expected(module)
    assert np.abs(run_tflite(model, channels_last(IMAGES)) - want).max() <= 1e-5 * want.max()


def test_input_in_torchs_layout_costs_one_transpose(to_tflite):
    torch.manual_seed(1)
    module = nn.Sequential(MODULES["squeeze excite"][0](), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = to_tflite(to_onnx(module.eval(), IMAGES[:1], 14, dynamic_batch=False), "nchw")
    assert np.abs(run_tflite(model, IMAGES.numpy()) - expected(module)).max() < 1e-5
    assert summarize(model).operators["TRANSPOSE"] == 1


def test_saved_model_runs_in_tensorflow(tmp_path):
    torch.manual_seed(1)
    module = MODULES["conv groups"][0]().eval()
    write_saved_model(to_onnx(module, IMAGES[:1], 14, False), tmp_path / "saved_model", "nhwc")
    tf = import_tensorflow()
    signature = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    got = signature(image=tf.constant(channels_last(IMAGES[:1])))["scores"].numpy()
    assert np.abs(got - expected(module, IMAGES[:1])).max() < 1e-5


def test_layers_are_named_by_their_modules():
    model = to_onnx(Residual().eval(), IMAGES[:1], 14, dynamic_batch=False)
    assert [layer(node) for node in model.graph.node if node.op_type == "Conv"] == [
        "first.0",
        "body.0",
    ]


def one_node(op_type, shape=(1, 3, 8, 8), opset=17, inputs=("image",), constants=(), **attributes):
    node = helper.make_node(op_type, [*inputs, *(c.name for c in constants)], ["scores"],
                            name=f"/stage/stage.1/{op_type}", **attributes)  # fmt: skip
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_empty_tensor_value_info("scores")],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_operator_that_onnx_tf_lacks_is_named_with_its_layer(tmp_path):
    grid = onnx.numpy_helper.from_array(np.zeros((1, 4, 4, 2), np.float32), "grid")
    with pytest.raises(StageError) as caught:
        write_saved_model(one_node("GridSample", constants=[grid]), tmp_path / "m", "nhwc")
    [problem] = caught.value.problems
    assert problem.message == "onnx-tf cannot convert the operator GridSample"
    assert problem.hint.startswith("stage.1: GridSample\nwrite the layer with")
    assert not (tmp_path / "m").exists()


def test_attribute_that_cannot_be_converted_is_named(tmp_path):
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    empty = onnx.numpy_helper.from_array(np.array([], np.float32), "roi")
    model = one_node("Resize", constants=[empty, scales], mode="cubic")
    with pytest.raises(StageError) as caught:
        write_saved_model(model, tmp_path / "m", "nhwc")
    assert "stage.1: Resize in the mode cubic half_pixel" in caught.value.problems[0].hint


def test_quantized_model_is_refused(tmp_path):
    constants = [
        onnx.numpy_helper.from_array(np.float32(0.1), "scale"),
        onnx.numpy_helper.from_array(np.int8(0), "zero"),
    ]
    with pytest.raises(StageError, match="quantized already"):
        write_saved_model(one_node("QuantizeLinear", constants=constants), tmp_path / "m", "nhwc")


def test_second_input_is_refused(tmp_path):
    with pytest.raises(StageError, match=r"has 2 inputs \(image, mask\)"):
        write_saved_model(one_node("Mul", inputs=("image", "mask")), tmp_path / "m", "nhwc")


def test_open_image_size_is_refused(tmp_path):
    with pytest.raises(StageError, match="leaves the size of its images open"):
        write_saved_model(one_node("Relu", shape=("n", 3, "h", "w")), tmp_path / "m", "nhwc")
