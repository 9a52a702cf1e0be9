"""check.parity: sound conversions pass, damaged ones fail and the damaged layer is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from damaged_models import damage, shuffled
from edge_models import PRECISIONS, Models, digits_net
from numpy.typing import NDArray
from onnx import numpy_helper
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import ImageDataset, Model, OnnxModel, TorchModel
from edgepipe_stages._graph import Op
from edgepipe_stages._parity.divergence import pair_products
from edgepipe_stages._parity.saturation import saturates
from edgepipe_stages._parity.trace import trace
from edgepipe_stages._runtime import Inspectable, runtime_of
from edgepipe_stages._torch_model import load_model
from edgepipe_stages.check.parity import Parity
from edgepipe_stages.quantize.static import QuantizeStatic

ARCHITECTURES = ("resnet8", "mobilenet_v3_small")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def models(
    request: pytest.FixtureRequest, run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory
) -> Models:
    return digits_net(run_stage, tmp_path_factory.getbasetemp(), request.param)


@pytest.fixture(scope="module")
def resnet(run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return digits_net(run_stage, tmp_path_factory.getbasetemp(), "resnet8")


def formats(models: Models) -> Iterator[tuple[str, Path]]:
    yield "onnx", models.onnx
    yield "static", models.static
    yield from models.tflite.items()


def pairs(models: Models, path: Path) -> list[tuple[str, Op]]:
    """Torch modules with the operators that they became."""
    images = ImageDataset.load(models.data).test.images[:1]
    traced = trace(
        load_model(models.torch, str), TorchModel.interface(models.torch).normalize(images)
    )
    runtime = runtime_of(path)(path, 1, str)
    assert isinstance(runtime, Inspectable)
    found = pair_products(traced.products, runtime.graph())
    return [(product.path, op) for op, product, _ in found]


def test_sound_models_pass(run_stage: RunStage, models: Models) -> None:
    layers = sum(
        isinstance(part, nn.Conv2d | nn.Linear) for part in load_model(models.torch, str).modules()
    )
    for name, path in formats(models):
        ran = run_stage(Parity, reference=models.torch, model=path, data=models.data)
        assert set(ran.metrics) == set(Parity.metrics)
        rows = ran.load("report")["layers"]
        assert len({row["layer"] for row in rows}) == len(rows) == layers, name
        least = {"onnx": 90, "float32": 90, "float16": 40, "dynamic": 20}.get(name, 8)
        assert min(row["input_db"] for row in rows) > least, name
        assert min(row["weight_similarity"] for row in rows) > 0.97, name


def test_the_numbers_are_those_of_the_models(run_stage: RunStage, resnet: Models) -> None:
    import onnxruntime

    data = ImageDataset.load(resnet.data)
    images = data.interface.normalize(data.test.images)
    with torch.no_grad():
        reference = load_model(resnet.torch, str)(torch.from_numpy(images)).numpy()
    session = onnxruntime.InferenceSession(resnet.static / "model.onnx")
    own = session.run(None, {"image": images})[0]
    ran = run_stage(Parity, reference=resnet.torch, model=resnet.static, data=resnet.data)
    found = ran.metrics
    assert found["samples"] == len(images)
    assert found["max_abs_diff"] == pytest.approx(np.abs(reference - own).max(), rel=1e-3)
    assert found["mean_abs_diff"] == pytest.approx(np.abs(reference - own).mean(), rel=1e-3)
    assert found["top1_agreement"] == (reference.argmax(1) == own.argmax(1)).mean()
    assert found["accuracy"] == (own.argmax(1) == data.test.labels).mean()
    assert found["accuracy_reference"] == (reference.argmax(1) == data.test.labels).mean()
    assert found["accuracy_drop"] == found["accuracy_reference"] - found["accuracy"]


def test_a_saved_model_is_compared_by_its_scores(run_stage: RunStage, resnet: Models) -> None:
    ran = run_stage(Parity, reference=resnet.torch, model=resnet.saved_model, data=resnet.data)
    assert ran.metrics["relative_error"] < 1e-5
    assert ran.load("report")["layers"] == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_shuffled_weights_are_found(
    run_stage: RunStage, models: Models, tmp_path: Path, share: float
) -> None:
    for name, path in formats(models):
        found = [
            pair
            for pair in pairs(models, path)
            if ".fc" not in pair[0] and "block.2" not in pair[0]
        ]
        module, op = found[int(len(found) * share)]
        bad = damage(path, tmp_path / name, op, 1, shuffled)
        with pytest.raises(StageError) as caught:
            run_stage(
                Parity, {"min_sqnr_db": 60}, reference=models.torch, model=bad, data=models.data
            )
        message = str(caught.value)
        assert f"first layer that diverges is '{module}', operator {op}:" in message, name
        assert "its weights are not the original's" in message, name


@pytest.mark.parametrize("name", ["onnx", "static", *PRECISIONS])
def test_a_wrong_bias_is_found(
    run_stage: RunStage, resnet: Models, tmp_path: Path, name: str
) -> None:
    path = dict(formats(resnet))[name]
    module, op = pairs(resnet, path)[4]

    def change(values: NDArray[Any]) -> NDArray[Any]:
        return values + 5 * np.abs(values).max() * np.sign(np.arange(len(values)) % 2 - 0.5)

    bad = damage(path, tmp_path / "bad", op, 2, change)
    with pytest.raises(StageError) as caught:
        run_stage(Parity, reference=resnet.torch, model=bad, data=resnet.data)
    message, hint = str(caught.value), caught.value.render()
    assert "the model is not the PyTorch model any more: " in message
    assert "top-1 agreement" in message
    assert "(at least" in message
    assert f"first layer that diverges is '{module}', operator {op}:" in message
    assert "its weights are the original's: look at its bias" in message
    assert "each layer is in the node's log" in hint


def test_a_wrong_range_between_layers_is_found(
    run_stage: RunStage, resnet: Models, tmp_path: Path
) -> None:
    model = onnx.load(resnet.static / "model.onnx")
    [node] = [n for n in model.graph.node if n.name == "/layer1/layer1.0/conv1/Conv"]
    [quantize] = [n for n in model.graph.node if n.input[0] == node.output[0]]
    [scale] = [t for t in model.graph.initializer if t.name == quantize.input[1]]
    small = numpy_helper.to_array(scale) / np.float32(8)
    scale.CopyFrom(numpy_helper.from_array(small, scale.name))
    onnx.save(model, tmp_path / "model.onnx")
    OnnxModel.save(tmp_path, OnnxModel.describe(resnet.static))
    with pytest.raises(StageError) as caught:
        run_stage(
            Parity, {"min_sqnr_db": 30}, reference=resnet.torch, model=tmp_path, data=resnet.data
        )
    assert "first layer that diverges is 'layer1.0.relu', operator DequantizeLinear" in str(
        caught.value
    )
    assert "look at what lies between them and it" in str(caught.value)


def test_the_hint_names_weights_that_are_too_wide_for_this_processor(
    run_stage: RunStage, resnet: Models
) -> None:
    for reduced in True, False:
        params = {"samples": 20, "reduce_range": reduced}
        wide = run_stage(QuantizeStatic, params, model=resnet.onnx, data=resnet.data)
        model = wide.outputs["model"]
        with pytest.raises(StageError) as caught:
            run_stage(
                Parity, {"min_sqnr_db": 90}, reference=resnet.torch, model=model, data=resnet.data
            )
        hint = caught.value.problems[0].hint
        assert ("set reduce_range: true" in hint) == saturates(model)
        assert not (reduced and saturates(model))


def test_every_layer_is_in_the_log(run_stage: RunStage, resnet: Models) -> None:
    ran = run_stage(Parity, reference=resnet.torch, model=resnet.onnx, data=resnet.data)
    lines = [data["message"] for name, data in ran.events if name == "log"]
    assert len(lines) == len(ran.load("report")["layers"])
    assert lines[0].endswith("conv1 = Conv '/conv1/Conv'")


def test_errors_that_grow_are_no_single_layers_fault(run_stage: RunStage, resnet: Models) -> None:
    with pytest.raises(StageError) as caught:
        run_stage(
            Parity,
            {"max_abs_diff": 1e-9},
            reference=resnet.torch,
            model=resnet.tflite["int8"],
            data=resnet.data,
        )
    assert "largest difference" in str(caught.value)
    assert "(at most 1e-09)" in str(caught.value)
    assert "no single layer stands out" in str(caught.value)


def test_a_model_that_gives_no_numbers(run_stage: RunStage, resnet: Models, tmp_path: Path) -> None:
    module, op = pairs(resnet, resnet.onnx)[3]
    bad = damage(resnet.onnx, tmp_path / "bad", op, 1, lambda values: values * np.nan)
    with pytest.raises(StageError) as caught:
        run_stage(Parity, reference=resnet.torch, model=bad, data=resnet.data)
    assert f"first layer that diverges is '{module}'" in str(caught.value)


def test_another_network_with_other_classes(
    run_stage: RunStage, resnet: Models, tmp_path: Path
) -> None:
    model = onnx.load(resnet.onnx / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name in ("fc.weight", "fc.bias"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:7], tensor.name))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(model, tmp_path / "model.onnx")
    OnnxModel.save(tmp_path, OnnxModel.describe(resnet.onnx))
    with pytest.raises(StageError, match="gives 10 scores an image, the model 7"):
        run_stage(Parity, reference=resnet.torch, model=tmp_path, data=resnet.data)


def test_the_precision_has_to_be_known(run_stage: RunStage, resnet: Models, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes((resnet.static / "model.onnx").read_bytes())
    Model.save(tmp_path, {**OnnxModel.describe(resnet.static), "precision": "int4"})
    inputs = {"reference": resnet.torch, "model": tmp_path, "data": resnet.data}
    with pytest.raises(StageError, match="precision 'int4'"):
        run_stage(Parity, **inputs)
    assert run_stage(Parity, {"tolerance": "int8"}, **inputs).metrics["top1_agreement"] > 0.95
