"""The three stages in a row, on a network that knows digits: torch → ONNX → SavedModel → TFLite."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_models import digits, save_calibration, save_torch_model, trained
from tflite_runs import run_tflite

from edgepipe.stage import StageError
from edgepipe_stages import OnnxModel, TFLiteModel
from edgepipe_stages._tflite import summarize
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return digits(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="module")
def module(data):
    return trained(data)


@pytest.fixture(scope="module")
def torch_model(module, data, tmp_path_factory):
    return save_torch_model(tmp_path_factory.mktemp("model") / "torch", module, data)


@pytest.fixture(scope="module")
def calibration(data, tmp_path_factory):
    return save_calibration(tmp_path_factory.mktemp("calibration") / "c", data, 100)


@pytest.fixture(scope="module")
def onnx_model(torch_model, run_stage):
    return run_stage(ConvertOnnx, model=torch_model).outputs["model"]


@pytest.fixture(scope="module")
def saved_model(onnx_model, run_stage):
    return run_stage(ConvertSavedModel, model=onnx_model).outputs["model"]


@pytest.fixture(scope="module")
def scores(module, data):
    with torch.no_grad():
        return module(torch.from_numpy(data.interface.normalize(data.test.images))).numpy()


def run_artifact(path, data):
    images = TFLiteModel.interface(path).normalize(data.test.images)
    return run_tflite((path / "model.tflite").read_bytes(), images)


def test_onnx_model_gives_what_torch_gives(onnx_model, data, scores):
    session = onnxruntime.InferenceSession(onnx_model / "model.onnx")
    images = OnnxModel.interface(onnx_model).normalize(data.test.images)
    [got] = session.run(["scores"], {"image": images})
    assert np.abs(got - scores).max() < 1e-4


def test_onnx_model_is_folded_and_tells_nothing_of_its_maker(onnx_model):
    content = (onnx_model / "model.onnx").read_bytes()
    model = onnx.load_from_string(content)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Conv", "Relu", "Add", "GlobalAveragePool", "Flatten", "Gemm"}
    assert not any(node.doc_string for node in model.graph.node)
    assert b".py" not in content
    assert str(onnx_model.home()).encode() not in content
    assert model.opset_import[0].version == 14


def test_batch_can_be_fixed(torch_model, run_stage):
    ran = run_stage(ConvertOnnx, {"dynamic_batch": False, "opset_version": 17}, model=torch_model)
    model = onnx.load(ran.outputs["model"] / "model.onnx")
    shapes = [
        [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert shapes == [[1, 1, 16, 16], [1, 10]]


def test_saved_model_has_channels_last_and_no_function_or_variable(saved_model):
    assert [f.name for f in (saved_model / "saved_model").iterdir()] == ["saved_model.pb"]
    assert TFLiteModel.interface(saved_model).layout == "nhwc"


@pytest.mark.parametrize(("precision", "most"), [("float32", 1e-4), ("float16", 0.02), ("dynamic", 0.5)])  # fmt: skip
def test_float_precisions(precision, most, saved_model, data, scores, run_stage):
    ran = run_stage(ConvertTFLite, {"precision": precision}, model=saved_model)
    got = run_artifact(ran.outputs["model"], data)
    assert np.abs(got - scores).max() < most
    assert ran.metrics["transposes"] == 0
    assert ran.metrics["size_bytes"] == (ran.outputs["model"] / "model.tflite").stat().st_size


def test_float_model_in_torchs_layout(onnx_model, data, scores, run_stage):
    saved = run_stage(ConvertSavedModel, {"input_layout": "nchw"}, model=onnx_model)
    ran = run_stage(ConvertTFLite, model=saved.outputs["model"])
    assert TFLiteModel.interface(ran.outputs["model"]).layout == "nchw"
    assert np.abs(run_artifact(ran.outputs["model"], data) - scores).max() < 1e-4


@pytest.fixture(scope="module")
def int8(saved_model, calibration, run_stage):
    return run_stage(
        ConvertTFLite, {"precision": "int8"}, model=saved_model, calibration=calibration
    )


def test_int8_model_agrees_with_torch(int8, data, scores):
    got = run_artifact(int8.outputs["model"], data)
    assert (got.argmax(1) == scores.argmax(1)).mean() >= 0.97
    assert (scores.argmax(1) == data.test.labels).mean() >= 0.8


def test_int8_model_is_int8_throughout(int8, saved_model, run_stage):
    path = int8.outputs["model"]
    summary = summarize((path / "model.tflite").read_bytes())
    float32 = run_stage(ConvertTFLite, model=saved_model)
    assert int8.metrics["float_tensors"] == 0
    assert float32.metrics["float_tensors"] > 10
    assert int8.metrics["operators"] == float32.metrics["operators"] == summary.operators.total()
    assert int8.metrics["size_bytes"] < 0.4 * float32.metrics["size_bytes"]
    description = TFLiteModel.describe(path)
    assert description["precision"] == "int8"
    assert description["input_quantization"] == {
        "scale": summary.input.scale,
        "zero_point": summary.input.zero_point,
    }
    assert 0 < description["output_quantization"]["scale"] < 1
    assert not [event for event in int8.events if event[0] == "warning"]


def test_one_scale_a_tensor(int8, saved_model, calibration, run_stage):
    ran = run_stage(
        ConvertTFLite,
        {"precision": "int8", "per_channel": False},
        model=saved_model,
        calibration=calibration,
    )
    assert ran.metrics["size_bytes"] < int8.metrics["size_bytes"]
    assert ran.metrics["float_tensors"] == 0


def test_same_bytes_again_in_a_warm_process(torch_model, calibration, int8, run_stage):
    """Other models were converted before: names must not count on."""
    onnx_model = run_stage(ConvertOnnx, model=torch_model).outputs["model"]
    saved = run_stage(ConvertSavedModel, model=onnx_model).outputs["model"]
    again = run_stage(ConvertTFLite, {"precision": "int8"}, model=saved, calibration=calibration)
    for name in ("model.tflite", "model.json"):
        assert (again.outputs["model"] / name).read_bytes() == (
            int8.outputs["model"] / name
        ).read_bytes()


FRESH = """
import sys
from pathlib import Path
from edgepipe.stage import Context, ports_of
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite

folder, model, calibration = map(Path, sys.argv[1:])
for stage, extra in ((ConvertOnnx(), {}), (ConvertSavedModel(), {}),
                     (ConvertTFLite(precision="int8"), {"calibration": calibration})):
    outputs = {port: folder / type(stage).__name__ / port for port in stage.outputs}
    for path in outputs.values():
        path.mkdir(parents=True)
    types = {name: port.type for name, port in ports_of(type(stage)).items()}
    stage.run(Context("n", 7, 1, folder, folder, types, stage.outputs, {"model": model, **extra}, outputs))
    model = outputs["model"]
"""


def test_same_bytes_in_a_fresh_process(torch_model, calibration, onnx_model, saved_model, int8, tmp_path):  # fmt: skip
    environment = os.environ | {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", FRESH, tmp_path, torch_model, calibration],
        check=True,
        env=environment,
        capture_output=True,
    )
    here = [
        onnx_model / "model.onnx",
        saved_model / "saved_model" / "saved_model.pb",
        int8.outputs["model"] / "model.tflite",
    ]
    there = [
        tmp_path / "ConvertOnnx" / "model" / "model.onnx",
        tmp_path / "ConvertSavedModel" / "model" / "saved_model" / "saved_model.pb",
        tmp_path / "ConvertTFLite" / "model" / "model.tflite",
    ]
    assert [digest(path) for path in here] == [digest(path) for path in there]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_int8_without_calibration_is_found_before_it_runs():
    [(parameter, message, hint)] = ConvertTFLite(precision="int8").preflight(frozenset({"model"}))
    assert parameter == "precision"
    assert "'calibration' is not connected" in message
    assert "quantize.static" in hint
    assert not list(ConvertTFLite(precision="int8").preflight(frozenset({"model", "calibration"})))
    assert not list(ConvertTFLite().preflight(frozenset({"model"})))


def test_calibration_set_that_is_too_small(saved_model, data, run_stage, tmp_path):
    small = save_calibration(tmp_path / "c", data, 9)
    with pytest.raises(StageError, match="has 9 images, and int8 needs at least 10"):
        run_stage(ConvertTFLite, {"precision": "int8"}, model=saved_model, calibration=small)


def test_calibration_set_without_a_class_is_a_warning(saved_model, data, run_stage, tmp_path):
    few = save_calibration(tmp_path / "c", data, 9)
    missing = sorted(set(range(10)) - set(data.train.labels[:9].tolist()))
    ran = run_stage(
        ConvertTFLite,
        {"precision": "int8", "min_samples": 5},
        model=saved_model,
        calibration=few,
    )
    [message] = [data["message"] for name, data in ran.events if name == "warning"]
    assert f"no image of the class {missing[0]}" in message
