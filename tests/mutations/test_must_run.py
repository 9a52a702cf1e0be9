"""What must run again: exactly the nodes concerned, and those that read what these make."""

from __future__ import annotations

import dataclasses
import json

import pytest
from lab import Lab, downstream
from lab_edits import Change, append, default, definition, replace, value, write

from edgepipe.key import HERE, machine

TRAIN = {"teacher", "student", "pruned", "sparse"}
PRUNE = {"pruned", "sparse"}
TUNE = {"student", "pruned", "sparse"}
"""Those that learn from a teacher."""
IMPORTED = {"own", "loaded"}
BENCH = {"bench_torch", "bench_onnx", "bench_tflite[float32]", "bench_tflite[int8]"}
RUNTIMES = BENCH | {"parity"}
"""All that run models: in which runtime, the model says."""
TORCH = TRAIN | IMPORTED | {"onnx"} | RUNTIMES
BENCH_TFLITE = {"bench_tflite[float32]", "bench_tflite[int8]"}
TFLITE = {"tflite[float32]", "tflite[int8]"}
DATA = {"digits", "photos", "made"}
NO_DATA = {"onnx", "dynamic", "saved"}
"""Those that neither read nor write a data set."""
UNSEEDED = {"onnx", "dynamic", "saved", *TFLITE, *BENCH}
ALL = {*DATA, "shifted", *TORCH, "int8", "dynamic", "saved", *TFLITE}

STAGES: list[tuple[str, Change, set[str]]] = [
    ("digits", definition("@data/digits.py", "Digits.run"), {"digits"}),
    ("image_folder", definition("@data/image_folder.py", "ImageFolder._chosen"), {"photos"}),
    ("data.python", definition("@data/python.py", "PythonData.run"), {"made"}),
    ("model.python", definition("@model/python.py", "PythonModel.run"), {"own"}),
    ("checkpoint", definition("@model/checkpoint.py", "Checkpoint.run"), {"loaded"}),
    ("classifier", definition("@train/classifier.py", "TrainClassifier.run"), {"teacher"}),
    ("logits", definition("@distill/logits.py", "DistillLogits.run"), {"student"}),
    ("structured", definition("@prune/structured.py", "PruneStructured.run"), {"pruned"}),
    ("magnitude", definition("@prune/magnitude.py", "PruneMagnitude.run"), {"sparse"}),
    ("static", definition("@quantize/static.py", "QuantizeStatic.run"), {"int8"}),
    ("dynamic", definition("@quantize/dynamic.py", "QuantizeDynamic.run"), {"dynamic"}),
    ("onnx", definition("@convert/onnx.py", "ConvertOnnx.run"), {"onnx"}),
    ("savedmodel", definition("@convert/savedmodel.py", "ConvertSavedModel.run"), {"saved"}),
    ("tflite", definition("@convert/tflite.py", "ConvertTFLite.run"), TFLITE),
    ("parity", definition("@check/parity.py", "Parity.run"), {"parity"}),
    ("b.torch", value("@benchmark/torch.py", "BenchmarkTorch.runtime", "'other'"), {"bench_torch"}),
    (
        "b.onnxruntime",
        value("@benchmark/onnxruntime.py", "BenchmarkOnnxRuntime.runtime", "'other'"),
        {"bench_onnx"},
    ),
    (
        "b.tflite",
        value("@benchmark/tflite.py", "BenchmarkTFLite.runtime", "'other'"),
        {"bench_tflite[float32]", "bench_tflite[int8]"},
    ),
]

HELPERS: list[tuple[str, Change, set[str]]] = [
    ("images", definition("@_images.py", "dataset"), DATA),
    ("stratified_split", definition("@_images.py", "stratified_split"), DATA),
    ("decoder", definition("@_image_files.py", "Decoder.decode"), {"photos"}),
    ("loop", definition("@_training/loop.py", "Loop.__init__"), TRAIN),
    ("fit", definition("@_training/fit.py", "fit"), TRAIN),
    ("schedule: a helper's helper", definition("@_training/schedule.py", "learning_rate"), TRAIN),
    ("losses", definition("@_training/losses.py", "distillation"), TUNE),
    ("augment", definition("@_training/augment.py", "_shifted"), TRAIN),
    ("optimizer", definition("@_training/optimizer.py", "optimizer_of"), TRAIN),
    ("checkpoint of a training", definition("@_training/checkpoint.py", "load_checkpoint"), TRAIN),
    ("evaluate", default("@_training/evaluate.py", "evaluate", "batch_size", "128"), TRAIN),
    ("channels", definition("@_pruning/channels.py", "accumulate_gradients"), {"pruned"}),
    ("weights to prune", definition("@_pruning/weights.py", "_smallest"), {"sparse"}),
    ("layers to prune", definition("@_pruning/layers.py", "output_layers"), PRUNE | {"loaded"}),
    ("macs", definition("@_macs.py", "work_of"), {"pruned"} | RUNTIMES),
    ("macs of what is pruned", definition("@_macs.py", "macs_and_params"), {"pruned"}),
    ("building torch models", definition("@_torch_model.py", "build"), TORCH),
    ("an architecture", definition("@_zoo/resnet.py", "BasicBlock.__init__"), TORCH),
    ("a layer of architectures", definition("@_zoo/_layers.py", "divisible"), TORCH),
    ("calibration", definition("@_calibration.py", "calibration_split"), {"int8"}),
    ("stratified", definition("@_calibration.py", "stratified"), {"int8", "parity"} | TRAIN),
    ("onnx export", definition("@_onnx_export.py", "export_onnx"), {"onnx"}),
    ("static quantization", definition("@_onnx_quantization.py", "static"), {"int8"}),
    ("onnx-tf", definition("@_onnx_tf/spatial.py", "_max_pool"), {"saved"}),
    ("onnx-tf compat", definition("@_onnx_tf/compat.py", "_mapping"), {"saved"}),
    ("tflite conversion", definition("@_tflite.py", "convert_tflite"), TFLITE),
    (
        "tensorflow",
        definition("@_tensorflow.py", "import_tensorflow"),
        {"saved"} | TFLITE | RUNTIMES,
    ),
    ("reading weights", definition("@_weights.py", "read_weights"), IMPORTED),
    ("a runtime", definition("@_runtime/litert.py", "LiteRT.scores"), RUNTIMES),
    ("parity's distance", definition("@_parity/distance.py", "sqnr"), {"parity"}),
    ("the process that measures", definition("@_measure/child.py", "_repeat"), BENCH),
    (
        "what the process that measures does as a program",
        replace("@_measure/child.py", "    main(sys.argv[1])", "    main(sys.argv[-1])"),
        BENCH,
    ),
    ("an artifact", definition("@_artifacts.py", "TFLiteModel.check"), TFLITE | BENCH_TFLITE),
    ("a data set's helper", definition("@_artifacts.py", "_save_split"), ALL - NO_DATA),
    ("a helper of all", definition("@_artifacts.py", "read_json"), ALL),
]

CONSTANTS: list[tuple[str, Change, set[str]]] = [
    ("of another module", value("@_images.py", "_IMAGENET"), DATA),
    ("of a helper's helper", value("@_parity/distance.py", "MOST"), {"parity"}),
    ("of a table", value("@_parity/bounds.py", "BY_PRECISION"), {"parity"}),
    ("of the pruner", value("@_pruning/channels.py", "_SEARCH_STEPS"), {"pruned"}),
    ("of layers", value("@_pruning/layers.py", "LAYERS"), PRUNE | {"loaded"}),
    ("of a conversion", value("@_onnx_tf/recurrent.py", "_MOST_STEPS"), {"saved"}),
    ("of quantization", value("@_onnx_quantization.py", "_BATCH"), {"int8"}),
    ("of architectures", value("@_architecture.py", "SMALL_SIDE"), TORCH),
    ("of images", value("@_image_files.py", "MAX_PIXELS"), {"photos"}),
    (
        "default of a parameter",
        value("@convert/onnx.py", "ConvertOnnx.opset_version", "15"),
        {"onnx"},
    ),
    ("default of a shared one", value("@_training/settings.py", "Training.momentum", "0.8"), TRAIN),
    ("default of a nested one", value("@_training/settings.py", "Augmentation.shift", "3"), TRAIN),
    ("a default of Hinton's", value("@_training/settings.py", "Distillation.alpha", "0.6"), TUNE),
]

USERS: list[tuple[str, Change, set[str]]] = [
    ("the user's function", replace("mydata.py", "np.arange(C", "np.ones(C"), {"made"}),
    ("the user's constant", replace("mydata.py", "CLASSES = 3", "CLASSES = 4"), {"made"}),
    ("the user's module", replace("helpers/draw.py", "(i, RED)", "(i + 1, RED)"), {"made"}),
    ("its helper", replace("helpers/shapes.py", "[number, color", "[color, number"), {"made"}),
    ("a default there", replace("helpers/shapes.py", "SIZE = 4", "SIZE = 5"), {"made"}),
    ("a name by *", replace("helpers/colors.py", "RED = 1", "RED = 2"), {"made"}),
    ("a type of a constant", replace("helpers/colors.py", "RED = 1", "RED = 1.0"), {"made"}),
    (
        "a module that shadows",
        write("helpers/__init__.py", "import os\nos.environ['A'] = '1'\n"),
        {"made"} | IMPORTED,
    ),
    ("the user's network", replace("nets.py", "return layers.flat(x)", "return x"), {"own"}),
    ("the other network", replace("nets.py", "return x\n", "return -x\n"), {"loaded"}),
    ("the network's helper", replace("helpers/layers.py", "return x", "return -x"), {"own"}),
    ("statements as they stand", append("nets.py", "\ntorch.manual_seed(0)\n"), IMPORTED),
    ("the plug-in", replace("plugins/vision/shift.py", "'left'", "'left '"), {"shifted"}),
    ("its default", replace("plugins/vision/shift.py", "Field(1", "Field(2"), {"shifted"}),
    ("its helper", replace("plugins/_tables.py", "move(steps)", "move(steps[:1])"), {"shifted"}),
    (
        "a module it names by text",
        replace("plugins/_steps/left.py", "steps\n", "None\n"),
        {"shifted"},
    ),
    ("a module that it could name", write("plugins/_steps/right.py", "move = None\n"), {"shifted"}),
    ("a file beside its code", write("plugins/_steps.json", "[1, 2, 4]"), {"shifted"}),
]

CONTENTS: list[tuple[str, Change, set[str]]] = [
    ("bytes of an image", write("photos/cat/1.png", "cat 0ne"), {"photos"}),
    ("one label", lambda lab: _move(lab, "photos/cat/1.png", "photos/dog/9.png"), {"photos"}),
    ("an image more", write("photos/dog/2.png", "dog two"), {"photos"}),
    ("an image less", write("photos/dog/1.png", None), {"photos"}),
    ("bytes of weights", write("weights.safetensors", "Weights"), {"loaded"}),
    ("a parameter", replace("lab.yaml", "temperature: 4.0", "temperature: 3.0"), {"student"}),
    ("a deep one", replace("lab.yaml", "arch: resnet8", "arch: resnet20"), {"teacher"}),
    ("a type", replace("lab.yaml", "ratio: 0.3", "ratio: 0.25"), {"pruned"}),
    ("a variable of an include", replace("shared.yaml", "16", "24"), {"digits"}),
    ("the seed", replace("lab.yaml", "seed: 7", "seed: 8"), ALL - UNSEEDED),
    ("a node's seed", replace("lab.yaml", "data.digits,", "data.digits, seed: 9,"), {"digits"}),
    ("a kind", replace("lab.yaml", "vision.shift", "vision.mirror"), {"shifted"}),
    (
        "an input",
        replace("lab.yaml", "own, data: photos}}", "loaded, data: made}}"),
        {"bench_torch"},
    ),
    (
        "an input to another",
        replace(
            "lab.yaml",
            "sparse: {uses: prune.magnitude, in: {model: student",
            "sparse: {uses: prune.magnitude, in: {model: teacher",
        ),
        {"sparse"},
    ),
]


def _move(lab: Lab, old: str, new: str) -> None:
    body = lab.path(old).read_text()
    lab.write(old, None)
    lab.write(new, body)


EDITS = STAGES + HELPERS + CONSTANTS + USERS + CONTENTS


@pytest.mark.parametrize(("change", "direct"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_exactly_what_is_concerned_runs_again(lab: Lab, change: Change, direct: set[str]) -> None:
    change(lab)
    runs(lab, direct)


def runs(lab: Lab, direct: set[str]) -> None:
    planner = lab.planner()
    decisions = planner.plan()
    assert {d.node.name for d in decisions if d.changes} == direct
    found = {d.node.name for d in decisions if d.record is None}
    assert found == downstream(planner.graph, direct)
    for decision in decisions:
        assert bool(decision.reason) == (decision.record is None)


def requiring(lab: Lab, *names: str) -> set[str]:
    """Nodes whose kinds say that they need one of these distributions."""
    nodes = lab.planner().graph.nodes.items()
    return {name for name, node in nodes if set(names) & set(node.stage.needs())}


@pytest.mark.parametrize(
    ("distribution", "users"),
    [
        ("torch", IMPORTED),
        ("numpy", {"made", "shifted"}),
        ("scikit-learn", set()),
        ("tensorflow", set()),
        ("onnx", set()),
        ("onnxruntime", set()),
        ("ai-edge-litert", set()),
        ("torch-pruning", set()),
    ],
)
def test_another_version_of_a_package(lab: Lab, distribution: str, users: set[str]) -> None:
    """``users``: whose own code imports it, without a word in the stage."""
    direct = requiring(lab, distribution) | users
    folder = f"{distribution.replace('-', '_')}-99.1.dist-info"
    lab.write(f"../site/{folder}/METADATA", f"Name: {distribution}\nVersion: 99.1\n")
    runs(lab, direct)
    assert any("→ 99.1" in d.reason for d in lab.planner().plan())


@pytest.mark.parametrize("part", ["cpu", "cores", "system"])
def test_another_machine(lab: Lab, part: str) -> None:
    lab.world = dataclasses.replace(HERE, machine=lambda: {**machine(), part: "other"})
    runs(lab, BENCH)


def test_another_lock(lab: Lab) -> None:
    def lock(node: object) -> str | None:
        return "d1" if getattr(node, "name", "") == "onnx" else None

    lab.world = dataclasses.replace(HERE, environment=lock)
    runs(lab, {"onnx"})


def test_the_engine_s_part_of_a_stage(lab: Lab) -> None:
    """What a stage imports of the engine makes its result too."""
    planner = lab.planner()
    for decision in planner.plan():
        names = {
            name.partition(":")[2]
            for name in json.loads(decision.code)
            if name.startswith("edgepipe/stage.py:")
        }
        assert {"Stage", "Context", "Artifact"} <= names
        outputs = {t.__name__ for t in decision.node.stage.outputs.values()}
        assert ("Metrics" in names) >= ("Metrics" in outputs)
