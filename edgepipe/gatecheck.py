"""Gates of a graph: bound to its nodes before anything runs, and evaluated on results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgepipe.errors import Problem, Where, did_you_mean
from edgepipe.gates import Gate, GateSyntaxError, MeasureError, MetricRef, Ref, parse
from edgepipe.graph import SIZE, Graph, GraphNode
from edgepipe.results import GateResult
from edgepipe.spec import Scalar
from edgepipe.stage import Metrics
from edgepipe.store import Record
from edgepipe.units import MEASURES
from edgepipe.yamltree import Node


@dataclass(frozen=True)
class Choice:
    """An instance that a reference means, and its place on the axes that no index fixes."""

    node: GraphNode
    open: Mapping[str, Scalar]


Choices = Callable[[Ref, Node], Sequence[Choice]]
"""The instances that a reference means; none where that is an error, which it reports."""


def bind(
    tree: Node, texts: Sequence[str], choices: Choices, problems: list[Problem]
) -> Iterator[tuple[Gate, Where]]:
    """Parse and check gates: one for each point of the matrices that its metrics leave open.

    Args:
        tree: the gates as written.
        texts: the same.
        choices: finds instances.
        problems: what is wrong is added here.
    """
    for number, text in enumerate(texts):
        node = tree.at((number,))
        try:
            gate = parse(text)
        except GateSyntaxError as error:
            problem = error.problems[0]
            where = node.inside(error.offset, 1).where
            problems.append(Problem(problem.message, problem.hint, where))
            continue
        if not gate.metrics:
            message = "a gate without a metric checks nothing"
            problems.append(Problem(message, "name NODE.METRIC", node.where))
            continue
        found: list[Sequence[Choice]] = []
        for metric in gate.metrics:
            place = node.inside(metric.offset, metric.width)
            members = choices(metric.ref, place)
            problem_or_none = _wrong(metric.ref, members[0].node, place) if members else None
            if problem_or_none is not None:
                problems.append(problem_or_none)
            found.append(() if problem_or_none else members)
        if all(found):
            nodes = {m: choice[0].node for m, choice in zip(gate.metrics, found, strict=True)}
            if problem_or_none := _mismatch(gate, nodes, node.where):
                problems.append(problem_or_none)
                continue
        for bound in _points(gate, found):
            yield bound, node.where


def _wrong(ref: Ref, node: GraphNode, place: Node) -> Problem | None:
    """Why a node makes no such metric; None where it does."""
    outputs = node.stage.outputs
    name, port = ref.rest[-1], ref.rest[0] if len(ref.rest) > 1 else None
    if port is not None and (port not in outputs or len(ref.rest) > 2):
        hint = did_you_mean(port, outputs, f"outputs of {node.kind.name}")
        return Problem(f"'{ref.node}' has no output '{port}'", hint, place.where)
    holds_numbers = port is None or issubclass(outputs[port], Metrics)
    known = list(node.stage.metrics) if holds_numbers else []
    if node.artifact or port is not None:
        known.append(SIZE)
    if name in known:
        return None
    hint = did_you_mean(name, known, f"metrics of {node.kind.name}")
    maker = ref.node if port is None else f"{ref.node}.{port}"
    return Problem(f"'{maker}' makes no metric '{name}'", hint, place.where)


def _mismatch(gate: Gate, nodes: Mapping[MetricRef, GraphNode], where: Where) -> Problem | None:
    """Why the two sides cannot be compared; None where they can."""
    try:
        gate.check(lambda metric: MEASURES[_unit_of(metric.ref, nodes[metric])])
    except MeasureError as error:
        problem = error.problems[0]
        return Problem(problem.message, problem.hint, where)
    return None


def _points(gate: Gate, found: Sequence[Sequence[Choice]]) -> Iterator[Gate]:
    for members in itertools.product(*found):
        point: dict[str, Scalar] = {}
        if all(point.setdefault(a, v) == v for m in members for a, v in m.open.items()):
            text, end = "", 0
            for metric, member in zip(gate.metrics, members, strict=True):
                name = ".".join((member.node.name, *metric.ref.rest))
                text += gate.text[end : metric.offset] + name
                end = metric.offset + metric.width
            yield parse(text + gate.text[end:])


def evaluate(gate: Gate, graph: Graph, records: Mapping[str, Record]) -> GateResult:
    """Whether a gate holds. One that needs what is not there does not, and says what."""

    def lookup(metric: MetricRef) -> float:
        return _value(metric.ref, graph, records)

    try:
        left, right, passed = gate.evaluate(lookup)
    except KeyError as error:
        return GateResult(gate.text, False, None, None, error=f"not known: {error.args[0]}")
    except ZeroDivisionError:
        return GateResult(gate.text, False, None, None, error="a division by zero")
    units = {_unit(metric.ref, graph) for metric in gate.metrics}
    return GateResult(gate.text, passed, left, right, units.pop() if len(units) == 1 else "number")


def _name(ref: Ref) -> str:
    return ref.node if ref.index is None else f"{ref.node}[{ref.index}]"


def _value(ref: Ref, graph: Graph, records: Mapping[str, Record]) -> float:
    name, what = _name(ref), ref.rest[-1]
    record = records.get(name)
    if record is None:
        raise KeyError(f"{name} has no result")
    if what == SIZE:
        port = ref.rest[0] if len(ref.rest) > 1 else graph.nodes[name].artifact
        if port is not None:
            return float(record.outputs[port].size)
    if what not in record.metrics:
        raise KeyError(f"{name} made no {what}")
    return record.metrics[what]


def _unit(ref: Ref, graph: Graph) -> str:
    return _unit_of(ref, graph.nodes[_name(ref)])


def _unit_of(ref: Ref, node: GraphNode) -> str:
    known, what = node.stage.metrics, ref.rest[-1]
    if what == SIZE:
        return "bytes"
    return known[what].unit if what in known else "number"
