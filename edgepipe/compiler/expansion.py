"""Matrices: which points a family has, and which nodes a reference means."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgepipe.compiler.families import Family, Problems
from edgepipe.errors import did_you_mean
from edgepipe.gatecheck import Choice
from edgepipe.gates import Ref
from edgepipe.graph import GraphNode
from edgepipe.spec import Scalar
from edgepipe.variables import scalar_text
from edgepipe.yamltree import Node

MAX_INSTANCES = 10_000
"""Nodes that one entry of ``stages`` may become."""


@dataclass(frozen=True)
class Point:
    """One node of a family to be: its values on all axes, and what feeds each of its inputs."""

    axes: Mapping[str, Scalar]
    inputs: Mapping[str, GraphNode]


def points(family: Family, families: Mapping[str, Family], problems: Problems) -> Iterator[Point]:
    """The points of a family's own axes and of those that its inputs leave open.

    What it reads must have its members already. Marks the family as broken where they are wrong.
    """
    axes: dict[str, list[Scalar]] = {}
    chosen: dict[str, list[Choice]] = {}
    for port, (ref, place) in family.refs.items():
        source = families.get(ref.node)
        chosen[port] = choices(source, ref, place, problems) if source else []
        if not chosen[port]:
            family.broken = True
            continue
        for axis in chosen[port][0].open:
            values = list(dict.fromkeys(choice.open[axis] for choice in chosen[port]))
            axes[axis] = [v for v in axes.get(axis, values) if v in values]
    given = {**axes, **family.axes}
    if math.prod(map(len, given.values())) > MAX_INSTANCES:
        message = f"the matrix makes '{family.name}' more than {MAX_INSTANCES:,} nodes"
        problems.add(message, "leave values out", family.tree.key("matrix"))
        return
    feeds = {
        port: (tuple(ones[0].open), {tuple(one.open.values()): one.node for one in ones})
        for port, ones in chosen.items()
        if ones
    }
    found = False
    for combination in itertools.product(*given.values()):
        point = dict(zip(given, combination, strict=True))
        inputs = {
            port: node
            for port, (names, nodes) in feeds.items()
            if (node := nodes.get(tuple(point[name] for name in names))) is not None
        }
        open_ports = [port for port in chosen if port not in inputs and not family.broken]
        if open_ports:
            ref, place = family.refs[open_ports[0]]
            hint = "give both the same values, or choose one node: NODE[INDEX]"
            problems.add(f"'{ref}' has no node for {_shown(point)}", hint, place)
        else:
            found = True
            yield Point(point, inputs)
    if not found and axes and not family.broken and all(family.axes.values()):
        ref, place = next(iter(family.refs.values()))
        message = f"the inputs of '{family.name}' have no value of an axis in common"
        problems.add(message, f"axes: {', '.join(axes)}", place)


def choices(family: Family, ref: Ref, place: Node, problems: Problems) -> list[Choice]:
    """The nodes that a reference means: all of a family, or those that its index picks."""
    axes = list(family.members[0].axes) if family.members else []
    wanted = _wanted(ref, axes)
    found = [
        Choice(member, {a: v for a, v in member.axes.items() if a not in wanted})
        for member in family.members
        if all(scalar_text(member.axes.get(a, "")) == v for a, v in wanted.items())
    ]
    if not found and family.members:
        names = [member.name for member in family.members]
        hint = did_you_mean(f"{ref.node}[{ref.index}]", names, "it has")
        message = f"there is no '{ref.node}[{ref.index}]'"
        if not axes:
            message, hint = f"'{ref.node}' has no matrix", f"write {ref.node}"
        problems.add(message, hint, place)
    return found


def _wanted(ref: Ref, axes: list[str]) -> dict[str, str]:
    """Axis → value of an index, whose values may leave out the axes' names: ``[int8]``."""
    wanted: dict[str, str] = {}
    for number, part in enumerate(ref.index.split(",") if ref.index is not None else ()):
        axis, equals, value = part.partition("=")
        if not equals:
            axis, value = (axes[number] if number < len(axes) else ""), part
        wanted[axis.strip()] = value.strip()
    return wanted


def _shown(point: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{axis} = {scalar_text(value)}" for axis, value in point.items())
