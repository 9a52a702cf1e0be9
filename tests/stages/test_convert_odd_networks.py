"""Networks that cannot be converted, or not as they are: what is named, and what is advised."""

from __future__ import annotations

import onnx
import pytest
from small_models import digits

from edgepipe.stage import StageError
from edgepipe_stages import OnnxModel
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return digits(tmp_path_factory.mktemp("data") / "digits")


NETS = """
import torch
from torch import nn

class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x).real

class FourierNet(nn.Module):
    def __init__(self, num_classes, channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3), Spectrum())
        self.head = nn.Linear(4, num_classes)
    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

class MapNet(nn.Module):
    def __init__(self, num_classes, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, num_classes, 3)
    def forward(self, x):
        return self.conv(x)

class PoolNet(MapNet):
    def forward(self, x):
        return nn.functional.avg_pool2d(self.conv(x), 3, 2, ceil_mode=True).amax((2, 3))

class FailingNet(MapNet):
    def forward(self, x):
        return self.conv(x.flatten(1))

class StripNet(MapNet):
    def forward(self, x):
        x = self.conv(x)
        return torch.nn.functional.adaptive_avg_pool2d(x, (None, 1)).mean((2, 3))

class TallNet(MapNet):
    def forward(self, x):
        return nn.functional.grid_sample(self.conv(x), torch.zeros(1, 3, 3, 2), align_corners=False).mean((2, 3))

class PartsNet(MapNet):
    # 14 rows and columns do not divide into 4 and 5.
    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(self.conv(x), (4, 5)).mean((2, 3))

class BatchNet(MapNet):
    def __init__(self, num_classes, channels):
        super().__init__(num_classes, channels)
        self.norm = nn.BatchNorm2d(num_classes, track_running_stats=False)
    def forward(self, x):
        return self.norm(self.conv(x)).amax((2, 3))

class DivisorNet(MapNet):
    # The exporter leaves divisor_override out.
    def forward(self, x):
        return nn.functional.avg_pool2d(self.conv(x), 3, 2, divisor_override=5).amax((2, 3))

class BranchNet(MapNet):
    # The trace keeps the way of an image of zeros.
    def forward(self, x):
        x = self.conv(x * (2 if x.sum() == 0 else 1))
        return x.mean((2, 3))
"""


@pytest.fixture
def user_model(tmp_path, data):
    (tmp_path / "nets.py").write_text(NETS)

    def save(name):
        from edgepipe.usercode import import_user_object
        from edgepipe_stages._torch_model import build, save_model

        architecture = {"arch": f"python:nets.py:{name}"}
        module = build(architecture, data.interface, lambda ref: import_user_object(ref, tmp_path))
        folder = tmp_path / name
        folder.mkdir()
        description = {"interface": data.interface.as_json(), "architecture": architecture}
        save_model(folder, module, description)
        return folder

    return save


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "FourierNet",
            "ONNX (opset 14) has no counterpart for the operator aten::fft_fft2, called in body.1",
        ),
        (
            "TallNet",
            "ONNX (opset 14) has no counterpart for the operator aten::grid_sampler, called in"
            " the model's forward()",
        ),
        ("MapNet", "the model gives (1, 10, 14, 14) for one image, not one score a class: (1, 10)"),
        ("FailingNet", "the model fails on an image of 1 × 1 × 16 × 16: RuntimeError: "),
    ],
)
def test_model_that_cannot_be_exported(name, message, user_model, run_stage, tmp_path):
    with pytest.raises(StageError) as caught:
        run_stage(ConvertOnnx, project=tmp_path, model=user_model(name))
    assert str(caught.value).startswith(message)


def test_newer_opset_is_suggested_where_it_helps(user_model, run_stage, tmp_path):
    model = user_model("TallNet")
    with pytest.raises(StageError) as caught:
        run_stage(ConvertOnnx, project=tmp_path, model=model)
    assert caught.value.problems[0].hint.startswith("set opset_version: 16")
    exported = run_stage(ConvertOnnx, {"opset_version": 16}, project=tmp_path, model=model)
    with pytest.raises(StageError, match="onnx-tf cannot convert the operator GridSample"):
        run_stage(ConvertSavedModel, model=exported.outputs["model"])


def test_fixed_batch_is_suggested_where_a_size_has_to_be_known(user_model, run_stage, tmp_path):
    model = user_model("StripNet")
    with pytest.raises(StageError) as caught:
        run_stage(ConvertOnnx, project=tmp_path, model=model)
    assert str(caught.value) == (
        "torch cannot export the model to ONNX: Unsupported: ONNX export of operator adaptive"
        " pooling, since output_size is not constant"
    )
    assert caught.value.problems[0].hint.startswith("set dynamic_batch: false")
    exported = run_stage(ConvertOnnx, {"dynamic_batch": False}, project=tmp_path, model=model)
    saved = run_stage(ConvertSavedModel, model=exported.outputs["model"])
    assert run_stage(ConvertTFLite, model=saved.outputs["model"]).metrics["transposes"] == 0


@pytest.mark.parametrize("dynamic", [True, False])
def test_no_fixed_batch_is_suggested_where_it_does_not_help(
    dynamic, user_model, run_stage, tmp_path
):
    params = {"dynamic_batch": dynamic}
    with pytest.raises(StageError) as caught:
        run_stage(ConvertOnnx, params, project=tmp_path, model=user_model("PartsNet"))
    assert "adaptive_avg_pool2d, output size that are not factor" in str(caught.value)
    assert caught.value.problems[0].hint.endswith("has to divide its input into equal parts")


def test_layer_that_mixes_the_images_of_a_batch_is_named(user_model, run_stage, tmp_path):
    with pytest.raises(StageError) as caught:
        run_stage(ConvertOnnx, project=tmp_path, model=user_model("BatchNet"))
    assert str(caught.value).startswith("'norm' normalizes by the statistics of each batch")
    assert "track_running_stats=True" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("name", "warned"), [("DivisorNet", True), ("BranchNet", True), ("PoolNet", False)]
)
def test_an_export_that_computes_something_else_is_a_warning(
    name, warned, user_model, run_stage, tmp_path
):
    ran = run_stage(ConvertOnnx, project=tmp_path, model=user_model(name))
    said = [event["message"] for kind, event in ran.events if kind == "warning"]
    assert len(said) == warned
    assert all("on noise, scores differ by " in line for line in said)


def test_operator_that_tensorflow_lite_lacks_is_named(tmp_path, data, run_stage):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("Det", ["image"], ["scores"], "/head/decoder/Det"),
        ],
        "graph",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    OnnxModel.save(tmp_path, {"interface": data.interface.as_json()})
    onnx.save(model, tmp_path / "model.onnx")
    saved = run_stage(ConvertSavedModel, model=tmp_path).outputs["model"]
    with pytest.raises(StageError) as caught:
        run_stage(ConvertTFLite, model=saved)
    assert "TensorFlow Lite has no operator MatrixDeterminant" in str(caught.value)
    assert "head.decoder" in str(caught.value)
