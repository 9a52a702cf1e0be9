"""check.parity: sound conversions pass, damaged ones fail and the damaged layer is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from edge_models import PRECISIONS, Models, digits_net, interface, save_noise
from numpy.typing import NDArray
from onnx import numpy_helper
from stage_runs import RunStage
from torch import nn

from edgepipe.stage import StageError
from edgepipe_stages import ImageDataset, Model, OnnxModel, TFLiteModel, TorchModel
from edgepipe_stages._graph import Graph, Op, Product
from edgepipe_stages._parity.divergence import pair_products, similarity
from edgepipe_stages._parity.saturation import saturates
from edgepipe_stages._parity.trace import Made, TorchProduct, trace
from edgepipe_stages._runtime import Inspectable, runtime_of
from edgepipe_stages._torch_model import load_model, save_model
from edgepipe_stages.check.parity import Parity
from edgepipe_stages.convert.onnx import ConvertOnnx
from edgepipe_stages.convert.savedmodel import ConvertSavedModel
from edgepipe_stages.convert.tflite import ConvertTFLite
from edgepipe_stages.quantize.static import QuantizeStatic

ARCHITECTURES = ("resnet8", "mobilenet_v3_small")
Change = Callable[[NDArray[Any]], NDArray[Any]]


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


def shuffled(values: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(1).permutation(values.reshape(-1)).reshape(values.shape)


def damage_onnx(source: Path, target: Path, op: Op, operand: int, change: Change) -> Path:
    """Change a weight (operand 1) or a bias (2), behind a DequantizeLinear if there is one."""
    model = onnx.load(source / "model.onnx")
    behind = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    [node] = [node for node in model.graph.node if node.name == op.name]
    name = behind.get(node.input[operand], node.input[operand])
    [tensor] = [tensor for tensor in model.graph.initializer if tensor.name == name]
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(values).astype(values.dtype), name))
    target.mkdir()
    onnx.save(model, target / "model.onnx")
    OnnxModel.save(target, OnnxModel.describe(source))
    return target


def damage_tflite(source: Path, target: Path, op: Op, operand: int, change: Change) -> Path:
    """Change a weight or a bias where it lies in the file."""
    content = bytearray((source / "model.tflite").read_bytes())
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    tensor = graph.Operators(int(op.name.split(":")[0])).Inputs(operand)
    for i in range(graph.OperatorsLength()):
        before = graph.Operators(i)
        if before.Outputs(0) == tensor:
            tensor = before.Inputs(0)
    entry = graph.Tensors(tensor)
    buffer = model.Buffers(entry.Buffer())
    dtypes = {0: np.float32, 1: np.float16, 2: np.int32, 9: np.int8}
    values = buffer.DataAsNumpy().view(dtypes[entry.Type()])
    changed = change(values.copy()).astype(values.dtype).tobytes()
    start = buffer._tab.Vector(buffer._tab.Offset(4))
    content[start : start + len(changed)] = changed
    target.mkdir()
    (target / "model.tflite").write_bytes(content)
    TFLiteModel.save(target, TFLiteModel.describe(source))
    return target


def damage(source: Path, target: Path, op: Op, operand: int, change: Change) -> Path:
    write = damage_onnx if (source / "model.onnx").is_file() else damage_tflite
    return write(source, target, op, operand, change)


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


USER = """
import torch
from torch import nn

class Branches(nn.Module):
    # Equal shapes side by side, a module called twice, activations without a module, rows that
    # are flattened images.

    def __init__(self, num_classes, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.wide = nn.Conv2d(16, 8, 3, stride=2, groups=2)
        self.head = nn.Linear(8 * 5 * 3, num_classes)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.cat([torch.sigmoid(self.a(x)) * 2, self.b(x) + x], dim=1)
        x = torch.cat([self.shared(part) for part in x.chunk(2, dim=1)], dim=1)
        return self.head(self.wide(nn.functional.leaky_relu(x)).flatten(1))

class Attention(nn.Module):
    def __init__(self, num_classes, channels):
        super().__init__()
        self.patch = nn.Conv2d(channels, 16, (11, 7), (11, 7))
        self.norm = nn.LayerNorm(16)
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        x = x + self.proj(torch.softmax(q @ k.transpose(-1, -2) / 4, -1) @ v)
        return self.head(x.mean(1))
"""
LAYERS = {
    "Branches": ["stem", "a", "b", "shared", "shared", "wide", "head"],
    "Attention": ["patch", "qkv", "proj", "head"],
}


@pytest.fixture(scope="module", params=LAYERS)
def users(
    request: pytest.FixtureRequest, run_stage: RunStage, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Path, list[Path]]:
    """Project, reference, data, and the models made from the reference."""
    project, shape = tmp_path_factory.mktemp("users"), (3, 22, 14)
    (project / "nets.py").write_text(USER)
    description = {
        "interface": interface(shape, 5).as_json(),
        "architecture": {"arch": f"python:nets.py:{request.param}"},
    }
    names: dict[str, Any] = {}
    exec(USER, names)
    torch.manual_seed(0)
    reference = project / "reference"
    reference.mkdir()
    save_model(reference, names[request.param](5, 3).eval(), description)
    data = save_noise(project / "data", shape, 5)
    onnx = run_stage(ConvertOnnx, project=project, model=reference).outputs["model"]
    saved = run_stage(ConvertSavedModel, model=onnx).outputs["model"]
    return project, reference, data, [onnx, run_stage(ConvertTFLite, model=saved).outputs["model"]]


def test_the_users_own_network(
    run_stage: RunStage, users: tuple[Path, Path, Path, list[Path]], tmp_path: Path
) -> None:
    project, reference, data, models = users
    inputs = {"project": project, "reference": reference, "data": data}
    expected = LAYERS[TorchModel.describe(reference)["architecture"]["arch"].split(":")[-1]]
    for number, model in enumerate(models):
        rows = run_stage(Parity, model=model, **inputs).load("report")["layers"]
        assert sorted(row["layer"] for row in rows) == sorted(expected)
        assert min(row["input_db"] for row in rows) > 100
        assert min(row["weight_similarity"] for row in rows) > 0.999
        runtime = runtime_of(model)(model, 1, str)
        assert isinstance(runtime, Inspectable)
        ops = {str(op): op for op in runtime.graph().products}
        for row in rows:
            bad = damage(model, tmp_path / f"{number}{len(ops)}", ops[row["operator"]], 1, shuffled)
            with pytest.raises(StageError) as caught:
                run_stage(Parity, model=bad, **inputs)
            assert f"first layer that diverges is '{row['layer']}', operator" in str(caught.value)
            shutil.rmtree(bad)


def test_the_precision_has_to_be_known(run_stage: RunStage, resnet: Models, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes((resnet.static / "model.onnx").read_bytes())
    Model.save(tmp_path, {**OnnxModel.describe(resnet.static), "precision": "int4"})
    inputs = {"reference": resnet.torch, "model": tmp_path, "data": resnet.data}
    with pytest.raises(StageError, match="precision 'int4'"):
        run_stage(Parity, **inputs)
    assert run_stage(Parity, {"tolerance": "int8"}, **inputs).metrics["top1_agreement"] > 0.95


def test_products_are_paired_by_weights_then_by_what_is_left_then_by_order() -> None:
    random = np.random.default_rng(0)
    a, b, c, d = random.normal(size=(4, 4, 2, 3, 3)).astype(np.float32)
    image = Made("", "image", np.zeros((1, 2, 5, 5), np.float32))
    originals = [
        TorchProduct(name, weight, image)
        for name, weight in (("a", a), ("b", b), ("c", c), ("twice", d), ("again", d))
    ]
    damaged = shuffled(b)
    ops = tuple(
        Op(name, "Conv", ("x",), (name,), Product("x", weight))
        for name, weight in (("1", c), ("2", -2 * a), ("3", damaged), ("4", d), ("5", d))
    )
    ops += (Op("6", "Conv", ("x",), ("6",), Product("x", a[:2])),)
    found = pair_products(originals, Graph(ops, "5"))
    assert [(op.name, product.path) for op, product, _ in found] == [
        ("1", "c"),
        ("2", "a"),
        ("3", "b"),
        ("4", "twice"),
        ("5", "again"),
    ]
    assert [similar > 0.99 for *_, similar in found] == [True, True, False, True, True]


def test_similarity_leaves_signs_and_scales_aside() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    scales = np.array([1, -2, 0.1, 5]).reshape(4, 1, 1, 1)
    assert similarity(weight, weight * scales) == pytest.approx(1)
    assert similarity(weight, shuffled(weight)) < 0.6
    assert similarity(weight * 0, weight) == 1.0
