"""quantize.static: ONNX Runtime's int8 model agrees with float, is smaller, is the same twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edge_models import Models, digits_net, interface, save_noise, save_onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from small_digits import save_digits
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import Calibration, Dataset, ImageDataset, OnnxModel, Split
from edgepipe_stages._parity.saturation import saturates
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.quantize.static import QuantizeStatic
from edgepipe_stages.train.classifier import TrainClassifier


@pytest.fixture(scope="module")
def models(run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return digits_net(run_stage, tmp_path_factory.getbasetemp(), "resnet8")


def scores(model: Path, data: Path) -> NDArray[np.float32]:
    test = ImageDataset.load(data).test
    session = onnxruntime.InferenceSession(model / "model.onnx")
    images = OnnxModel.interface(model).normalize(test.images)
    result: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: images})[0]
    return result


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"activations": "s8"},
        {"activations": "s8", "symmetric": True},
        {"per_channel": False},
        {"method": "entropy"},
        {"method": "percentile"},
    ],
    ids=str,
)
def test_it_agrees_with_the_float_model(
    run_stage: RunStage, models: Models, params: dict[str, Any]
) -> None:
    ran = run_stage(QuantizeStatic, {"samples": 100, **params}, model=models.onnx, data=models.data)
    model = ran.outputs["model"]
    reference, own = scores(models.onnx, models.data), scores(model, models.data)
    assert (reference.argmax(1) == own.argmax(1)).mean() >= 0.97
    assert not np.array_equal(reference, own)
    assert OnnxModel.describe(model)["precision"] == "int8"


def test_a_mobilenet_keeps_its_accuracy_on_every_processor(
    run_stage: RunStage, tmp_path: Path
) -> None:
    data = save_digits(tmp_path / "data", count=1797)
    params = {"model": {"arch": "mobilenet_v2", "width": 0.25}, "epochs": 12, "learning_rate": 0.01}
    module = run_stage(TrainClassifier, params, data=data).outputs["model"]
    onnx = run_stage(ConvertOnnx, model=module).outputs["model"]
    model = run_stage(QuantizeStatic, model=onnx, data=data).outputs["model"]
    labels = ImageDataset.load_test(data).labels
    before, after = ((scores(m, data).argmax(1) == labels).mean() for m in (onnx, model))
    assert before > 0.9
    assert after >= before - 0.005


def test_sums_of_the_largest_weights_and_pixels_are_right(
    run_stage: RunStage, tmp_path: Path
) -> None:
    shape = (16, 4, 4)
    layers = nn.Sequential(nn.Conv2d(16, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.ones_(layers[0].weight)
    model = save_onnx(tmp_path / "m", layers, shape)
    white = Split(np.full((8, 4, 4, 16), 255, np.uint8), np.arange(8, dtype=np.int64) % 4)
    data = tmp_path / "d"
    data.mkdir()
    ImageDataset.save(data, Dataset(white, white, interface(shape)))
    for params in ({}, {"activations": "s8"}, {"per_channel": False}):
        quantized = run_stage(QuantizeStatic, params, model=model, data=data).outputs["model"]
        assert scores(quantized, data) == pytest.approx(scores(model, data), rel=0.02)


def test_who_cuts_off_sums(run_stage: RunStage, models: Models, tmp_path: Path) -> None:
    wide = run_stage(
        QuantizeStatic, {"samples": 20, "reduce_range": False}, model=models.onnx, data=models.data
    ).outputs["model"]
    old, new, other = (tmp_path / name for name in ("old", "new", "other"))
    old.write_text("model name\t: X\nflags\t\t: fpu avx2 sse4_2\n")
    new.write_text("model name\t: X\nflags\t\t: fpu avx2 avx512_vnni\n")
    other.write_text("Features\t: fp asimd\n")
    assert saturates(wide, old)
    assert not saturates(wide, new)
    assert not saturates(wide, other)
    assert not saturates(wide, tmp_path / "none")
    assert not saturates(models.static, old)
    assert not saturates(models.onnx, old)
    assert not saturates(models.tflite["int8"], old)


def test_weights_are_int8_and_activations_as_asked(run_stage: RunStage, models: Models) -> None:
    for activations, dtype in (("u8", np.uint8), ("s8", np.int8)):
        params = {"samples": 20, "activations": activations}
        ran = run_stage(QuantizeStatic, params, model=models.onnx, data=models.data)
        model = onnx.load(ran.outputs["model"] / "model.onnx")
        values = constants(model)
        weights = {
            node.output[0]: values[node.input[0]].dtype
            for node in model.graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in values
        }
        products = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
        assert {weights[node.input[1]] for node in products} == {np.dtype(np.int8)}
        zero_points = [n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"]
        assert {values[name].dtype for name in zero_points} == {np.dtype(dtype)}
        assert ran.metrics["quantized_operators"] == ran.metrics["operators"] == len(products)


def test_symmetric_has_zero_points_of_zero_and_float_biases(
    run_stage: RunStage, models: Models
) -> None:
    params = {"samples": 20, "activations": "s8", "symmetric": True}
    ran = run_stage(QuantizeStatic, params, model=models.onnx, data=models.data)
    model = onnx.load(ran.outputs["model"] / "model.onnx")
    values = constants(model)
    quantizers = [n for n in model.graph.node if n.op_type.endswith("quantizeLinear")]
    quantizers += [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantizers) > 10
    assert all(not values[node.input[2]].any() for node in quantizers if len(node.input) > 2)
    assert np.dtype(np.int32) not in {value.dtype for value in values.values()}


def test_the_report_tells_sizes(run_stage: RunStage, models: Models) -> None:
    ran = run_stage(QuantizeStatic, {"samples": 50}, model=models.onnx, data=models.data)
    before = (models.onnx / "model.onnx").stat().st_size
    after = (ran.outputs["model"] / "model.onnx").stat().st_size
    assert ran.metrics["size_before_bytes"] == before
    assert ran.metrics["size_bytes"] == after < 0.6 * before
    assert ran.metrics["calibration_images"] == 50
    assert set(ran.metrics) == set(QuantizeStatic.metrics)


def test_the_calibration_set_is_a_stratified_part_of_the_train_split(models: Models) -> None:
    split, interface = Calibration.load(models.calibration)
    data = ImageDataset.load(models.data)
    assert interface == data.interface
    train = {image.tobytes() for image in data.train.images}
    assert all(image.tobytes() in train for image in split.images)
    counts = np.bincount(split.labels, minlength=10)
    expected = np.bincount(data.train.labels, minlength=10) * 100 / len(data.train)
    assert counts.sum() == 100
    assert np.abs(counts - expected).max() < 1


def test_the_same_bytes_whatever_the_hash_seed(models: Models, tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path;"
        "from edgepipe_stages._onnx_quantization import static;"
        "source, target = map(Path, sys.argv[1:]); target.mkdir();"
        "images = np.random.default_rng(0).normal(size=(20, 1, 16, 16)).astype('f');"
        "static(source, target / 'model.onnx', target, images, signed=False, per_channel=True,"
        " symmetric=False, reduce_range=False, method='minmax', progress=lambda *_: None)"
    )
    found = set()
    for seed in "0", "1":
        target = tmp_path / seed
        command = [sys.executable, "-c", program, models.onnx / "model.onnx", target]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        found.add((target / "model.onnx").read_bytes())
    assert len(found) == 1


def test_the_seed_chooses_the_images(run_stage: RunStage, models: Models) -> None:
    inputs = {"model": models.onnx, "data": models.data}
    first, again, other = (
        run_stage(QuantizeStatic, {"samples": 20}, seed=seed, **inputs).outputs
        for seed in (1, 1, 2)
    )
    for file in ("calibration/calibration.safetensors", "model/model.onnx"):
        port, name = file.split("/")
        assert (first[port] / name).read_bytes() == (again[port] / name).read_bytes()
        assert (first[port] / name).read_bytes() != (other[port] / name).read_bytes()


def test_all_images_of_a_small_train_split_with_a_warning(
    run_stage: RunStage, tmp_path: Path
) -> None:
    model = save_onnx(tmp_path / "m", nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), (3, 3, 3))
    data = save_noise(tmp_path / "d", (3, 3, 3), count=12)
    ran = run_stage(QuantizeStatic, model=model, data=data)
    assert ran.metrics["calibration_images"] == 12
    assert [d["message"] for name, d in ran.events if name == "warning"] == [
        "only 12 calibration images: the train split has no more"
    ]


def test_a_model_for_exactly_one_image(run_stage: RunStage, models: Models, tmp_path: Path) -> None:
    fixed = run_stage(ConvertOnnx, {"dynamic_batch": False}, model=models.torch).outputs["model"]
    ran = run_stage(QuantizeStatic, {"samples": 20}, model=fixed, data=models.data)
    assert ran.metrics["quantized_operators"] > 0


def test_too_few_samples(run_stage: RunStage, models: Models) -> None:
    with pytest.raises(StageError, match="9 calibration images cannot show each of the 10 classes"):
        run_stage(QuantizeStatic, {"samples": 9}, model=models.onnx, data=models.data)


def test_twice_is_once_too_often(run_stage: RunStage, models: Models) -> None:
    with pytest.raises(StageError, match="already quantized"):
        run_stage(QuantizeStatic, model=models.static, data=models.data)


@pytest.mark.parametrize("opset", [11, 12])
def test_scales_for_channels_need_newer_operators(
    run_stage: RunStage, models: Models, opset: int
) -> None:
    params = {"opset_version": opset}
    old = run_stage(ConvertOnnx, params, model=models.torch).outputs["model"]
    with pytest.raises(StageError, match=f"opset {opset} has no scale for each channel") as caught:
        run_stage(QuantizeStatic, {"samples": 20}, model=old, data=models.data)
    assert "opset_version: 13 or later" in caught.value.render()
    whole = {"samples": 20, "per_channel": False}
    run_stage(QuantizeStatic, whole, model=old, data=models.data)


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_transposed_convolutions(run_stage: RunStage, tmp_path: Path, groups: int) -> None:
    torch.manual_seed(1)
    shape = (1, 6, 6)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 12, 3, groups=groups),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, 4),
    )
    model = save_onnx(tmp_path / "m", module, shape)
    data = save_noise(tmp_path / "d", shape)
    ran = run_stage(QuantizeStatic, {"samples": 24}, model=model, data=data)
    [line] = [event["message"] for kind, event in ran.events if kind == "log"]
    assert line.endswith("in grouped transposed convolutions: 2.weight")
    assert ran.metrics["quantized_operators"] == ran.metrics["operators"] == 3
    expected = scores(model, data)
    assert abs(scores(ran.outputs["model"], data) - expected).max() < 0.05 * abs(expected).max()
    sizes = {
        name: values.shape
        for name, values in constants(onnx.load(ran.outputs["model"] / "model.onnx")).items()
        if name.endswith(".weight_scale")
    }
    assert sizes == {"0.weight_scale": (8,), "2.weight_scale": (), "5.weight_scale": (4,)}


def test_nothing_to_quantize(run_stage: RunStage, tmp_path: Path) -> None:
    shape = (1, 2, 2)
    model = save_onnx(tmp_path / "m", nn.Sequential(nn.ReLU(), nn.Flatten()), shape)
    with pytest.raises(StageError) as caught:
        run_stage(QuantizeStatic, model=model, data=save_noise(tmp_path / "d", shape))
    assert "nothing to quantize" in caught.value.render()
    assert "its operators: Flatten, Relu" in caught.value.render()


def test_unsigned_cannot_be_symmetric() -> None:
    [(parameter, _, hint)] = QuantizeStatic(symmetric=True).preflight(frozenset())
    assert (parameter, hint) == ("symmetric", "set activations: s8")
    assert not list(QuantizeStatic(symmetric=True, activations="s8").preflight(frozenset()))
