"""Variables in texts: ``${NAME}`` of the pipeline, ``${matrix.AXIS}`` of one of its nodes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from edgepipe.errors import Problem, Where, did_you_mean
from edgepipe.yamltree import Node, kind_of

_VARIABLE = re.compile(r"\$\$|\$\{([^{}]*)\}")
_MAX_CHAIN = 20


def substitute(root: Node, problems: list[Problem], unknown: set[Where]) -> Node:
    """Put variables in place everywhere; one that is wrong leaves nothing, and a problem."""
    section = root.value.get("vars")
    variables: dict[str, Node] = {}
    if section is not None and isinstance(section.value, dict):
        variables = dict(section.value)
    done: dict[str, Node | None] = {}

    def variable(name: str, user: Node, path: tuple[str, ...]) -> Node | None:
        if name in done:
            return done[name]
        message, hint = "", ""
        if name in path:
            cycle = " → ".join((*path[path.index(name) :], name))
            message = f"variables build on each other: {cycle}"
            hint = "give one of them a value of its own"
        elif len(path) >= _MAX_CHAIN:
            message = f"variables build on each other more than {_MAX_CHAIN} deep"
            hint = "use fewer in between"
        elif name not in variables:
            message = f"there is no variable '{name}'"
            hint = did_you_mean(name, variables, "variables")
        if message:
            problems.append(Problem(message, hint, user.where))
            return None
        before = len(unknown)
        found = walk(variables[name], (*path, name))
        done[name] = found if len(unknown) == before else None
        return done[name]

    def walk(node: Node, path: tuple[str, ...] = ()) -> Node:
        value = node.value
        if isinstance(value, dict):
            value = {name: walk(item, path) for name, item in value.items()}
        elif isinstance(value, list):
            value = [walk(item, path) for item in value]
        elif isinstance(value, str) and "$" in value:
            return interpolate(node, value, path)
        else:
            return node
        return node.rebuilt(value)

    def interpolate(node: Node, text: str, path: tuple[str, ...]) -> Node:
        whole = _VARIABLE.fullmatch(text)
        if whole and whole[1] is not None and not _deferred(whole[1]):
            found = variable(_name(whole[1]), node, path)
            if found is None:
                unknown.add(node.where)
                return node.rebuilt(None)
            return dataclasses.replace(node.rebuilt(found.value), keys=found.keys)

        def replace(match: re.Match[str]) -> str:
            if match[1] is None or _deferred(match[1]):
                return match[0]
            found = variable(_name(match[1]), node, path)
            if found is not None and isinstance(found.value, dict | list):
                hint = "use it alone, as the whole value"
                message = f"'{match[1]}' is {kind_of(found.value)}: it cannot be part of a text"
                problems.append(Problem(message, hint, node.where))
                found = None
            if found is None:
                unknown.add(node.where)
                return ""
            return scalar_text(found.value)

        return node.rebuilt(_VARIABLE.sub(replace, text))

    for name in variables:
        variable(name, variables[name], ())
    return walk(root)


def _name(text: str) -> str:
    return text.strip().removeprefix("vars.")


def _deferred(text: str) -> bool:
    return text.strip().startswith("matrix.")


def scalar_text(value: object) -> str:
    """A scalar as YAML would show it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def fill_matrix(node: Node, axes: Mapping[str, object], problems: list[Problem]) -> Node:
    """Put ``${matrix.AXIS}`` and ``$$`` in place, for one point of a matrix."""
    value = node.value
    if isinstance(value, dict):
        value = {name: fill_matrix(item, axes, problems) for name, item in value.items()}
    elif isinstance(value, list):
        value = [fill_matrix(item, axes, problems) for item in value]
    elif isinstance(value, str) and "$" in value:

        def find(text: str) -> object:
            name = text.strip().removeprefix("matrix.")
            if name not in axes:
                hint = did_you_mean(name, axes, "axes")
                problems.append(Problem(f"there is no axis '{name}' here", hint, node.where))
            return axes.get(name)

        whole = _VARIABLE.fullmatch(value)
        if whole and whole[1] is not None:
            value = find(whole[1])
        else:
            value = _VARIABLE.sub(lambda m: "$" if m[1] is None else scalar_text(find(m[1])), value)
    else:
        return node
    return node.rebuilt(value)


def matrix_axes(node: Node) -> frozenset[str]:
    """Names of the axes that texts below a node use."""
    value = node.value
    if isinstance(value, str):
        uses = (match[1] for match in _VARIABLE.finditer(value) if match[1] is not None)
        return frozenset(use.strip().removeprefix("matrix.") for use in uses if _deferred(use))
    children = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return frozenset()
    return frozenset().union(*map(matrix_axes, children))
