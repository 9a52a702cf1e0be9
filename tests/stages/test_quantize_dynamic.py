"""quantize.dynamic: matrix products in int8, convolutions in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edge_models import Models, digits_net, save_onnx
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import OnnxModel
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.quantize.dynamic import QuantizeDynamic


@pytest.fixture(scope="module")
def models(run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return digits_net(run_stage, tmp_path_factory.getbasetemp(), "resnet8")


def test_products_are_quantized_and_convolutions_are_not(
    run_stage: RunStage, models: Models
) -> None:
    ran = run_stage(QuantizeDynamic, model=models.onnx)
    types = [n.op_type for n in onnx.load(ran.outputs["model"] / "model.onnx").graph.node]
    before = [n.op_type for n in onnx.load(models.onnx / "model.onnx").graph.node]
    assert types.count("Conv") == before.count("Conv") > 5
    assert types.count("MatMulInteger") == before.count("Gemm") == 1
    assert "ConvInteger" not in types
    assert ran.metrics["quantized_operators"] == 1
    assert ran.metrics["operators"] == before.count("Conv") + 1
    assert OnnxModel.describe(ran.outputs["model"])["precision"] == "dynamic"


def test_a_perceptron_becomes_four_times_smaller_and_stays_near(
    run_stage: RunStage, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(256, 300), nn.ReLU(), nn.Linear(300, 4))
    model = save_onnx(tmp_path / "m", module, (1, 16, 16))
    first, second = (run_stage(QuantizeDynamic, model=model) for _ in range(2))
    file = first.outputs["model"] / "model.onnx"
    assert file.read_bytes() == (second.outputs["model"] / "model.onnx").read_bytes()
    assert first.metrics["size_bytes"] == file.stat().st_size
    assert first.metrics["size_bytes"] < 0.3 * first.metrics["size_before_bytes"]
    image = torch.randn(8, 1, 16, 16)
    own = onnxruntime.InferenceSession(file).run(None, {"image": image.numpy()})[0]
    expected = module(image).detach().numpy()
    assert 0 < np.abs(own - expected).max() < 0.05 * np.abs(expected).max()


def test_convolutions_alone_are_nothing_to_quantize(run_stage: RunStage, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(StageError) as caught:
        run_stage(QuantizeDynamic, model=save_onnx(tmp_path / "m", module, (1, 8, 8)))
    assert caught.value.render() == (
        "error: the model has nothing to quantize: no Gemm or MatMul with constant weights\n"
        "  its operators: Conv, Flatten, GlobalAveragePool\n"
        "  for convolutions use quantize.static"
    )


def test_a_file_that_is_no_model(run_stage: RunStage, models: Models, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    OnnxModel.save(tmp_path, OnnxModel.describe(models.onnx))
    with pytest.raises(StageError, match=r"model\.onnx is not a valid ONNX model"):
        run_stage(QuantizeDynamic, model=tmp_path)


def test_a_quantized_model_does_not_become_a_saved_model(
    run_stage: RunStage, models: Models
) -> None:
    dynamic = run_stage(QuantizeDynamic, model=models.onnx).outputs["model"]
    for quantized in (dynamic, models.static):
        with pytest.raises(StageError, match="the ONNX model is quantized already") as caught:
            run_stage(ConvertSavedModel, model=quantized)
        assert "convert.tflite quantizes it itself" in caught.value.render()
