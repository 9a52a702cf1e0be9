"""What every kind of stage holds, whoever wrote it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgepipe.compiler import compile_graph
from edgepipe.config import load
from edgepipe.environments import Environments
from edgepipe.errors import ConfigError
from edgepipe.key import installed
from edgepipe.kinds import Kind, Kinds, packages
from edgepipe.manual import describe, example, text
from edgepipe.spec import parse_model
from edgepipe.stage import Artifact, Metric, Metrics, Stage, ports_of
from edgepipe.units import UNITS
from edgepipe.yamlparse import parse

KINDS = [kind for kind in Kinds().all.values() if not kind.plugin]
ENVIRONMENTS = Environments.of(Path(), packages())
EXPECTED = {
    "data.digits",
    "data.image_folder",
    "data.python",
    "model.python",
    "model.checkpoint",
    "train.classifier",
    "distill.logits",
    "prune.structured",
    "prune.magnitude",
    "quantize.static",
    "quantize.dynamic",
    "convert.onnx",
    "convert.savedmodel",
    "convert.tflite",
    "convert.litert_torch",
    "check.parity",
    "benchmark.torch",
    "benchmark.onnxruntime",
    "benchmark.tflite",
}
HEAVY = (
    "litert_torch",
    "torch",
    "tensorflow",
    "onnx",
    "onnxruntime",
    "numpy",
    "sklearn",
    "PIL",
    "safetensors",
)

IMPORT_ALL = f"""
import json, sys
from edgepipe.kinds import Kinds
loaded = {{}}
for kind in Kinds().all.values():
    kind.stage
    loaded[kind.name] = sorted(set({HEAVY!r}) & set(sys.modules))
print(json.dumps(loaded))
"""

each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def test_the_kinds_that_are_promised_are_there() -> None:
    assert {kind.name for kind in KINDS} >= EXPECTED


def test_kinds_are_imported_without_their_frameworks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True
    )
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    assert {name: heavy for name, heavy in loaded.items() if heavy} == {}


@each
def test_it_is_a_stage_that_says_what_it_does(kind: Kind) -> None:
    stage = kind.stage
    assert issubclass(stage, Stage)
    assert not inspect.isabstract(stage)
    assert stage.__doc__ is not None
    first = stage.__doc__.strip().split("\n")[0]
    assert first.endswith("."), "the first line is a sentence: it is the list's summary"
    assert len(first) <= 96
    module = inspect.getmodule(stage)
    assert module is not None
    assert (module.__doc__ or "").startswith(f"{kind.name}: ")
    package = kind.path.parent / "__init__.py"
    assert package.read_text().startswith('"""')


@each
def test_its_ports_are_declared(kind: Kind) -> None:
    stage = kind.stage
    assert stage.outputs
    assert all(issubclass(type_, Artifact) for type_ in stage.outputs.values())
    assert all(issubclass(port.type, Artifact) for port in ports_of(stage).values())
    assert all(name.isidentifier() for name in (*stage.outputs, *stage.inputs))
    # The user sees the type's name: it says what it is.
    assert all((type_.__doc__ or "").strip() for type_ in stage.outputs.values())


@each
def test_its_parameters_are_described_and_bounded(kind: Kind) -> None:
    for parameter in describe(kind)["parameters"]:
        assert parameter["description"], parameter["name"]
        number = parameter["type"] in {"integer", "number"}
        if number and (parameter["required"] or parameter["default"] is not None):
            assert parameter["bounds"], f"{parameter['name']} has no bounds"


@each
def test_its_defaults_pass_its_own_checks(kind: Kind) -> None:
    required = {p["name"] for p in describe(kind)["parameters"] if p["required"]}
    tree = parse("{}\n", "defaults") if not required else None
    if tree is not None:
        assert parse_model(kind.stage, tree, kind.name)[1] == ()
    unknown = parse("no_such_parameter: 1\n", "x")
    _, problems = parse_model(kind.stage, unknown, kind.name)
    assert any("unknown parameter 'no_such_parameter'" in p.message for p in problems)


@each
def test_its_metrics_have_units_and_meanings(kind: Kind) -> None:
    stage = kind.stage
    for name, metric in stage.metrics.items():
        assert isinstance(metric, Metric)
        assert metric.unit in UNITS, name
        assert metric.meaning, name
        assert name.isidentifier()
    if stage.metrics:
        assert any(issubclass(type_, Metrics) for type_ in stage.outputs.values())


@each
def test_what_it_requires_is_installed(kind: Kind) -> None:
    environment = kind.stage.environment
    version = installed if environment is None else ENVIRONMENTS.get(environment).version
    assert [name for name in kind.stage.requires if version(name) is None] == []
    assert isinstance(kind.stage.measures, bool)
    assert isinstance(kind.stage.seeded, bool)
    assert kind.stage.cpus >= 0


def fill(kind: Kind) -> str:
    """The manual's example as a pipeline: required parameters and inputs left as they are."""
    body = "\n".join(f"  {line}" for line in example(kind).splitlines())
    return f"edgepipe: 1\nname: example\nstages:\n{body}\n"


@each
def test_its_page_has_an_example_whose_parameters_are_right(kind: Kind, tmp_path: Path) -> None:
    assert kind.name in text(kind)
    assert json.loads(json.dumps(describe(kind)))["kind"] == kind.name
    (tmp_path / "p.yaml").write_text(fill(kind))
    try:
        compile_graph(load(tmp_path / "p.yaml"), Kinds(), tmp_path)
        problems = []
    except ConfigError as error:
        problems = [problem.message for problem in error.problems]
    # What is left open is the reader's; what is written is right.
    written = [p for p in problems if "parameter '" in p and "is missing" not in p]
    required = [p["name"] for p in describe(kind)["parameters"] if p["required"]]
    assert [p for p in written if not any(f"'{name}'" in p for name in required)] == []
    assert not any("unknown" in problem for problem in problems)
