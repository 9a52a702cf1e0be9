"""Which output port feeds an input: by its name, or the one whose type fits."""

from __future__ import annotations

from collections.abc import Iterable

from edgepipe.compiler.families import Family, Problems
from edgepipe.errors import did_you_mean
from edgepipe.gates import Ref
from edgepipe.graph import GraphNode, Source
from edgepipe.stage import Port
from edgepipe.yamltree import Node


def wire(
    family: Family,
    port: str,
    wanted: Port,
    member: GraphNode,
    families: Iterable[Family],
    problems: Problems,
) -> Source | None:
    """The output of ``member`` that feeds an input; None where none fits, which is reported."""
    ref, place = family.refs[port]
    outputs = member.stage.outputs
    fits = [name for name, type_ in outputs.items() if issubclass(type_, wanted.type)]
    if ref.rest and ref.rest[0] not in outputs:
        name = ref.rest[0]
        hint = did_you_mean(name, outputs, f"outputs of {member.kind.name}")
        problems.add(f"'{ref.node}' has no output '{name}'", hint, place)
        return None
    if ref.rest and ref.rest[0] in fits:
        return Source(member.name, ref.rest[0])
    if not ref.rest and len(fits) == 1:
        return Source(member.name, fits[0])
    needs = f"input '{port}' of {family.kind.name} takes {wanted.type.__name__}"
    _explain(needs, ref, fits, member, _who_gives(wanted, families, family), place, problems)
    return None


def _explain(
    needs: str,
    ref: Ref,
    fits: list[str],
    member: GraphNode,
    who_gives: str,
    place: Node,
    problems: Problems,
) -> None:
    outputs = member.stage.outputs
    if ref.rest:
        problems.add(f"{needs}, but {ref} gives {outputs[ref.rest[0]].__name__}", who_gives, place)
    elif fits:
        hint = f"write one of {', '.join(f'{ref}.{name}' for name in fits)}"
        problems.add(f"{needs}, and '{ref}' gives several", hint, place)
    else:
        listed = ", ".join(f"{name} ({type_.__name__})" for name, type_ in outputs.items())
        problems.add(f"{needs}, but '{ref}' gives {listed or 'nothing'}", who_gives, place)


def _who_gives(wanted: Port, families: Iterable[Family], but: Family) -> str:
    """A hint: the outputs of this pipeline that would fit."""
    names = [
        f"{family.name}.{port}"
        for family in families
        for port, type_ in family.kind.stage.outputs.items()
        if family is not but and issubclass(type_, wanted.type)
    ]
    name = wanted.type.__name__
    return f"{name} comes from: {', '.join(names)}" if names else f"no node here gives {name}"
