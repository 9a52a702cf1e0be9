"""Families: one entry of ``stages`` each, whose nodes are the points of its matrix."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from edgepipe.environments import Environment
from edgepipe.errors import Problem, did_you_mean
from edgepipe.gates import Ref
from edgepipe.graph import GraphNode
from edgepipe.kinds import Kind
from edgepipe.spec import NodeSpec, Scalar
from edgepipe.stage import ports_of
from edgepipe.variables import scalar_text
from edgepipe.yamltree import Node

_IN_NAME = re.compile(r"[^,\[\]\n]{1,80}")


class Problems(list[Problem]):
    """What is wrong with a pipeline, in the order in which it is found."""

    def add(self, message: str, hint: str, place: Node) -> None:
        """One more, at a place in the text."""
        self.append(Problem(message, hint, place.where))


@dataclass
class Family:
    """All nodes of one entry of ``stages``."""

    name: str
    kind: Kind
    spec: NodeSpec
    tree: Node
    refs: dict[str, tuple[Ref, Node]]
    """Input port → what feeds it, and where that is written."""
    axes: dict[str, list[Scalar]]
    environment: Environment | None = None
    """Locked; None: edgepipe's own interpreter runs its nodes."""
    members: list[GraphNode] = field(default_factory=list)
    """Empty where what it reads is wrong: then nothing is said of what reads it."""
    broken: bool = False
    """What it reads is wrong."""


def read_family(
    kind: Kind,
    spec: NodeSpec,
    tree: Node,
    key: Node,
    known: Collection[str],
    problems: Problems,
) -> Family:
    """Check an entry's references and axes.

    Args:
        kind: what it uses.
        spec: the entry.
        tree: the same as written.
        key: where its name is written.
        known: names of all entries, the wrong ones too.
        problems: what is wrong is added here.
    """
    refs = dict(_references(kind, spec, tree, known, problems))
    _check_connected(kind, spec, tree, key, problems)
    axes = {axis: _axis(axis, values, tree, problems) for axis, values in spec.matrix.items()}
    return Family(key.value, kind, spec, tree, refs, axes)


def _references(
    kind: Kind, spec: NodeSpec, tree: Node, known: Collection[str], problems: Problems
) -> Iterator[tuple[str, tuple[Ref, Node]]]:
    ports = ports_of(kind.stage)
    for port, text in spec.in_.items():
        node = tree.at(("in", port))
        if port not in ports:
            hint = did_you_mean(port, ports, f"inputs of {kind.name}")
            problems.add(f"{kind.name} has no input '{port}'", hint, tree.at(("in",)).key(port))
            continue
        ref = Ref.parse(text)
        if ref is None or len(ref.rest) > 1:
            hint = "write NODE, NODE.PORT or NODE[INDEX].PORT"
            problems.add(f"'{text}' is no reference to a node", hint, node)
        elif ref.node not in known:
            hint = did_you_mean(ref.node, known, "nodes")
            problems.add(f"there is no node '{ref.node}'", hint, node)
        else:
            yield port, (ref, node)


def _check_connected(kind: Kind, spec: NodeSpec, tree: Node, key: Node, problems: Problems) -> None:
    ports = ports_of(kind.stage)
    misspelt = [port for port in spec.in_ if port not in ports]
    for port, declared in ports.items():
        needed = not declared.optional and port not in spec.in_
        if needed and not get_close_matches(port, misspelt):
            place = tree.key("in") if "in" in tree.value else key
            message = f"the input '{port}' of {kind.name} is not connected"
            hint = f"write in: {{{port}: NODE}}, a node that gives {declared.type.__name__}"
            problems.add(message, hint, place)


def _axis(axis: str, values: list[Scalar], tree: Node, problems: Problems) -> list[Scalar]:
    """An axis' values, without those that cannot tell nodes apart."""
    found: dict[str, Scalar] = {}
    seen: set[Scalar] = set()
    for number, value in enumerate(values):
        node = tree.at(("matrix", axis, number))
        text = scalar_text(value)
        if text in found or value in seen:
            hint = "each value names a node: write it once"
            problems.add(f"{text} is there twice in the axis '{axis}'", hint, node)
        elif not _IN_NAME.fullmatch(text):
            hint = "a value names a node: up to 80 signs, no comma, bracket or line break"
            problems.add(f"{json.dumps(value)} cannot be part of a name", hint, node)
        else:
            found[text] = value
            seen.add(value)
    return list(found.values())


def in_order(families: Mapping[str, Family], problems: Problems) -> list[Family]:
    """Families in an order in which each comes after what it reads; cycles are reported."""
    while True:
        before = {
            name: [ref.node for ref, _ in family.refs.values() if ref.node in families]
            for name, family in families.items()
        }
        try:
            return [families[name] for name in TopologicalSorter(before).static_order()]
        except CycleError as error:
            _break(families, error.args[1], problems)


def _break(families: Mapping[str, Family], cycle: list[str], problems: Problems) -> None:
    """Report a cycle, and take a reference out of it."""
    order = list(families)
    first = min(range(len(cycle) - 1), key=lambda i: order.index(cycle[i]))
    cycle = [*cycle[first:-1], *cycle[:first], cycle[first]]
    family = families[cycle[0]]
    port = next(port for port, (ref, _) in family.refs.items() if ref.node == cycle[-2])
    message = f"the graph has a cycle: {' → '.join(cycle)}"
    problems.add(message, "a node cannot read what is made from it", family.refs[port][1])
    del family.refs[port]
    family.broken = True
