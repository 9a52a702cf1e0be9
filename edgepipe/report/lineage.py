"""What was made from what, and which models were measured: the facts behind every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgepipe.report.figures import number
from edgepipe.results import NodeResult, OutputResult, RunResult

MOST_SLOW = 0.05
"""A share of slow calls beyond which a measurement is noisy, where it says nothing itself."""


@dataclass(frozen=True)
class Model:
    """A model that a benchmark measured. Sizes in bytes, latency in seconds, one thread."""

    name: str
    runtime: str
    """What it was measured in: the last part of the benchmark's kind."""
    bench: NodeResult
    made_by: NodeResult | None
    """The node whose output was measured; None where the run does not hold it."""
    accuracy: float | None
    size: float | None
    latency: float | None
    pareto: bool = False
    """No other model is at least as good in accuracy, size and latency, and better in one."""


class Lineage:
    """A run's nodes, linked by the models that went from one into the other."""

    def __init__(self, result: RunResult) -> None:
        self.nodes = {node.name: node for node in result.nodes}
        self._parent = {node.name: self._find_parent(node) for node in result.nodes}
        self._benches: dict[str, list[NodeResult]] = {}
        for node in result.nodes:
            parent = self._parent[node.name]
            if is_benchmark(node) and parent:
                self._benches.setdefault(parent.name, []).append(node)
        self.models = self._measured(result)
        self.baseline = self._baseline()

    def made_from(self, node: NodeResult) -> NodeResult | None:
        """The node whose model entered ``node``."""
        return self._parent[node.name]

    def ancestors(self, node: NodeResult) -> Iterator[NodeResult]:
        """The nodes whose models led to ``node``, nearest first."""
        seen = {node.name}
        parent = self._parent[node.name]
        while parent and parent.name not in seen:
            yield parent
            seen.add(parent.name)
            parent = self._parent[parent.name]

    def reference(self, node: NodeResult) -> NodeResult | None:
        """What a model is compared with: the nearest one before it whose accuracy is known."""
        line = list(self.ancestors(node))
        return next((n for n in line if self.accuracy(n) is not None), line[0] if line else None)

    def accuracy(self, node: NodeResult) -> float | None:
        """Accuracy of a node's model: as the node says, or else a benchmark of it."""
        return self._known(node, "accuracy")

    def macs(self, node: NodeResult) -> float | None:
        """Multiply-accumulates of a node's model for one input."""
        return self._known(node, "macs")

    def _known(self, node: NodeResult, metric: str) -> float | None:
        values = (number(n, metric) for n in (node, *self._benches.get(node.name, ())))
        return next((value for value in values if value is not None), None)

    def _find_parent(self, node: NodeResult) -> NodeResult | None:
        ports = sorted(node.inputs, key=lambda port: (port != "model", port == "reference"))
        for port in ports:
            source, _, output = node.inputs[port].rpartition(".")
            parent = self.nodes.get(source)
            if parent is None or parent.name == node.name:
                continue
            made = parent.outputs.get(output)
            if port == "model" or output == "model" or (made and "Model" in made.type):
                return parent
        return None

    def _measured(self, result: RunResult) -> list[Model]:
        benches = [n for n in result.nodes if is_benchmark(n) and n.metrics]
        made_by = {n.name: self._parent[n.name] for n in benches}
        subjects = Counter(m.name for m in made_by.values() if m)
        runtimes = Counter((m.name, runtime(n)) for n in benches if (m := made_by[n.name]))
        models = []
        for bench in benches:
            subject = made_by[bench.name]
            if subject is None or runtimes[subject.name, runtime(bench)] > 1:
                name = bench.name
            elif subjects[subject.name] > 1:
                name = f"{subject.name} ({runtime(bench)})"
            else:
                name = subject.name
            size = number(bench, "size_bytes")
            if size is None and subject and (output := main_output(subject)):
                size = float(output.size)
            accuracy = number(bench, "accuracy")
            latency = number(bench, "latency_p50")
            models.append(Model(name, runtime(bench), bench, subject, accuracy, size, latency))
        return _mark_pareto(models)

    def _baseline(self) -> Model | None:
        """The measured model that at least half of the others came from; else the largest."""
        before = Counter(
            ancestor.name
            for model in self.models
            if model.made_by
            for ancestor in self.ancestors(model.made_by)
        )
        descendants = [before[m.made_by.name] if m.made_by else 0 for m in self.models]
        if not self.models:
            return None
        if 2 * max(descendants) >= len(self.models) - 1 > 0:
            return self.models[descendants.index(max(descendants))]
        return max(self.models, key=lambda m: m.size or 0)

    def featured(self) -> dict[str, Model]:
        """What compression bought: the smallest and the fastest measured model, by that word.

        Those that lost more than two points of accuracy count only where there are no others.
        """
        base = self.baseline
        others = [m for m in self.models if m is not base and m.size and m.latency]
        if base is None or not others:
            return {}
        floor = (base.accuracy or 0) - 0.02
        fit = [m for m in others if m.accuracy is not None and m.accuracy >= floor] or others
        smallest = min(fit, key=lambda m: m.size or 0)
        fastest = min(fit, key=lambda m: m.latency or 0)
        if smallest is fastest:
            return {"smallest and fastest": smallest}
        return {"smallest": smallest, "fastest": fastest}


def is_benchmark(node: NodeResult) -> bool:
    """Whether a node measures the speed of a model."""
    return node.kind.startswith("benchmark.") or "latency_p50" in node.metrics


def runtime(node: NodeResult) -> str:
    """The last part of a node's kind: ``tflite`` of ``benchmark.tflite``."""
    return node.kind.rpartition(".")[2]


def disturbances(node: NodeResult) -> list[str]:
    """Why a node's measurements are not to be trusted: what it said, or that many calls were slow."""
    said = [
        str(reason)
        for detail in node.details.values()
        if isinstance(detail, Mapping) and isinstance(detail.get("disturbances"), list)
        for reason in detail["disturbances"]
    ]
    noise = number(node, "noise") or 0.0
    return said or ([f"{noise * 100:.0f} % of calls were slow"] if noise > MOST_SLOW else [])


def main_output(node: NodeResult) -> OutputResult | None:
    """The output that a node is there for: ``model``, or the largest that is no Metrics."""
    if "model" in node.outputs:
        return node.outputs["model"]
    others = [output for output in node.outputs.values() if output.type != "Metrics"]
    return max(others, key=lambda output: output.size, default=None)


def _mark_pareto(models: list[Model]) -> list[Model]:
    axes = [
        (m, (-m.accuracy, m.size or 0, m.latency or 0)) for m in models if m.accuracy is not None
    ]
    best = {
        id(model)
        for model, mine in axes
        if not any(
            other != mine and all(o <= v for o, v in zip(other, mine, strict=True))
            for _, other in axes
        )
    }
    return [
        Model(**{**model.__dict__, "pareto": id(model) in best and len(axes) > 1})
        for model in models
    ]
