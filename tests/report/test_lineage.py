from __future__ import annotations

from dataclasses import replace

import pytest
from report_nodes import bench, node
from report_pipeline import sample
from report_samples import failing, hostile, large

from edgepipe.report.lineage import (
    Lineage,
    disturbances,
    is_benchmark,
    main_output,
)
from edgepipe.results import RunResult


@pytest.fixture
def lineage() -> Lineage:
    return Lineage(sample())


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("data", None),
        ("teacher", None),
        ("student", "teacher"),
        ("pruned", "student"),
        ("onnx_int8", "onnx"),
        ("tflite[int8]", "savedmodel"),
        ("bench[int8]", "tflite[int8]"),
        ("parity[int8]", "tflite[int8]"),
    ],
)
def test_made_from(lineage: Lineage, name: str, parent: str | None) -> None:
    made = lineage.made_from(lineage.nodes[name])
    assert (made.name if made else None) == parent


def test_a_quantized_model_is_compared_with_the_float_model_that_it_came_from(
    lineage: Lineage,
) -> None:
    reference = lineage.reference(lineage.nodes["tflite[int8]"])
    assert reference is not None
    assert reference.name == "pruned", "onnx and savedmodel have no accuracy of their own"
    assert lineage.reference(lineage.nodes["data"]) is None
    line = [n.name for n in lineage.ancestors(lineage.nodes["tflite[int8]"])]
    assert line == ["savedmodel", "onnx", "pruned", "student", "teacher"]


def test_accuracy_and_macs_of_a_converted_model_come_from_its_benchmark(lineage: Lineage) -> None:
    assert lineage.accuracy(lineage.nodes["tflite[int8]"]) == 0.9861
    assert lineage.macs(lineage.nodes["tflite[int8]"]) == 2_913_408
    assert lineage.accuracy(lineage.nodes["savedmodel"]) is None


def test_models_and_their_baseline(lineage: Lineage) -> None:
    assert [m.name for m in lineage.models] == [
        "teacher",
        "student",
        "pruned",
        "onnx_int8",
        *(f"tflite[{p}]" for p in ("float32", "float16", "dynamic", "int8")),
    ]
    assert lineage.baseline is lineage.models[0]
    assert {m.name for m in lineage.models if not m.pareto} == {"pruned"}
    smallest, fastest = lineage.featured().values()
    assert (smallest.name, fastest.name) == ("tflite[dynamic]", "onnx_int8")


def test_a_model_that_lost_its_accuracy_is_no_gain() -> None:
    run = sample()
    broken = [
        replace(n, metrics={**n.metrics, "accuracy": 0.1}) if n.name == "bench[dynamic]" else n
        for n in run.nodes
    ]
    smallest, _ = Lineage(replace(run, nodes=tuple(broken))).featured().values()
    assert smallest.name == "tflite[int8]"


def test_a_model_measured_in_two_runtimes_says_which() -> None:
    run = sample()
    again = bench("again", "pruned.model", "executorch", 4e5, 0.98, 1e-3, 1e6)
    twice = bench("twice", "pruned.model", "executorch", 4e5, 0.98, 1e-3, 1e6)
    names = [m.name for m in Lineage(replace(run, nodes=(*run.nodes, again))).models]
    assert "pruned (torch)" in names
    assert names[-1] == "pruned (executorch)"
    names = [m.name for m in Lineage(replace(run, nodes=(*run.nodes, again, twice))).models]
    assert names[-2:] == ["again", "twice"]


def test_a_benchmark_of_nothing_that_the_run_holds() -> None:
    alone = bench("alone", "gone.model", "torch", 4e5, 0.98, 1e-3, 1e6)
    lineage = Lineage(replace(sample(), nodes=(alone,)))
    assert [m.name for m in lineage.models] == ["alone"]
    assert lineage.featured() == {}
    assert not lineage.models[0].pareto, "one model alone is not the best of any"


def test_without_a_size_of_the_benchmark_it_is_that_of_the_output() -> None:
    run = sample()
    nodes = []
    for n in run.nodes:
        metrics = {k: v for k, v in n.metrics.items() if k != "size_bytes"}
        nodes.append(replace(n, metrics=metrics))
    lineage = Lineage(replace(run, nodes=tuple(nodes)))
    assert [m.size for m in lineage.models][:2] == [1_252_108, 812_004]


def test_a_sweep_is_compared_with_its_largest_model() -> None:
    baseline = Lineage(large(5)).baseline
    assert baseline is not None
    assert baseline.name == "onnx[0.200]"


def test_a_cycle_in_a_record_ends() -> None:
    a = node("a", "k.k", 1.0, {"model": "b.model"}, {"model": ("TorchModel", 1)})
    b = node("b", "k.k", 1.0, {"model": "a.model"}, {"model": ("TorchModel", 1)})
    itself = node("c", "k.k", 1.0, {"model": "c.model"}, {"model": ("TorchModel", 1)})
    lineage = Lineage(replace(sample(), nodes=(a, b, itself)))
    assert [n.name for n in lineage.ancestors(a)] == ["b"]
    assert lineage.made_from(itself) is None


def test_main_output() -> None:
    assert main_output(node("a", "k.k", 1.0)) is None
    assert main_output(node("a", "k.k", 1.0, None, {"report": ("Metrics", 9)})) is None
    two = node("a", "k.k", 1.0, None, {"small": ("Folder", 1), "big": ("Folder", 2)})
    assert main_output(two) is two.outputs["big"]
    model = node("a", "k.k", 1.0, None, {"model": ("TorchModel", 1), "big": ("Folder", 2)})
    assert main_output(model) is model.outputs["model"]


def test_a_plug_in_that_measures_is_a_benchmark_too() -> None:
    assert is_benchmark(node("a", "mine.stopwatch", 1.0, metrics={"latency_p50": 1.0}))
    assert not is_benchmark(node("a", "mine.stopwatch", 1.0, metrics={"accuracy": 1.0}))


def test_disturbances() -> None:
    noisy = bench("b[dynamic]", "m.model", "torch", 1, 1, 1, 1)
    assert disturbances(noisy) == ["with 1 thread 34 % of calls took over 1.5 × the fastest"]
    assert disturbances(replace(noisy, details={})) == ["34 % of calls were slow"]
    assert disturbances(bench("b", "m.model", "torch", 1, 1, 1, 1)) == []


@pytest.mark.parametrize("run", [failing(), hostile(), replace(sample(), nodes=())])
def test_other_runs(run: RunResult) -> None:
    lineage = Lineage(run)
    assert len(lineage.models) == (7 if run.nodes else 0)
