"""The YAML's shape, as pydantic models; the JSON schema for editors comes from here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgepipe.errors import Problem, did_you_mean
from edgepipe.yamltree import Node, kind_of

Scalar = str | int | float | bool
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class NodeSpec(_Spec):
    """One node of the graph."""

    uses: str = Field(description="the stage's kind; `edgepipe stages` lists them")
    in_: dict[str, str] = Field(
        default_factory=dict, alias="in", description="input port: NODE or NODE.PORT that feeds it"
    )
    with_: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="the stage's parameters"
    )
    matrix: dict[Name, Annotated[list[Scalar], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="one node for each combination; an axis sets the parameter of its name",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = Field(
        None, description="instead of the pipeline's"
    )
    timeout: Annotated[float, Field(gt=0)] | None = Field(
        None, description="seconds after which the node is ended and fails"
    )
    cpus: Annotated[int, Field(ge=0)] | None = Field(
        None, description="threads it keeps busy; 0: all of the machine"
    )
    description: str = Field("", description="for readers and reports")


class Spec(_Spec):
    """A pipeline."""

    edgepipe: Literal[1] = Field(description="version of this format")
    name: Name = Field(description="names the pipeline's runs and reports")
    description: str = Field("", description="for readers and reports")
    include: str | list[str] = Field(
        default_factory=list, description="files merged under this one, relative to it"
    )
    vars: dict[Name, Any] = Field(
        default_factory=dict, description="values used as ${NAME}; --set vars.NAME=VALUE"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seeds every random generator")
    stages: dict[Name, NodeSpec] = Field(min_length=1, description="the graph's nodes by name")
    gates: list[str] = Field(
        default_factory=list,
        description="budgets on results, as NODE.METRIC <= VALUE; one that fails ends the run"
        " with exit code 3",
    )


def validate(root: Node) -> tuple[Spec, list[Problem]]:
    """Check the shape of a whole pipeline.

    Returns:
        What is right of it, and all problems with their places. A node that is wrong is left
        out of ``stages``.
    """
    plain = root.plain()
    problems = list(check_model(Spec, root, plain))
    if not problems:
        return Spec.model_validate_json(json.dumps(plain), strict=True), []
    right: dict[str, Any] = {}
    for name in Spec.model_fields:
        if name != "stages" and name in plain:
            try:
                one = json.dumps({**_LEAST, name: plain[name]})
                right[name] = getattr(Spec.model_validate_json(one, strict=True), name)
            except ValidationError:
                continue
    given = plain.get("stages")
    stages: dict[str, NodeSpec] = {}
    for name, item in given.items() if isinstance(given, dict) else ():
        try:
            one = json.dumps({**_LEAST, "stages": {name: item}})
            stages |= Spec.model_validate_json(one, strict=True).stages
        except ValidationError:
            continue
    return Spec.model_construct(**{**_LEAST, **right, "stages": stages}), problems


_LEAST: dict[str, Any] = {"edgepipe": 1, "name": "unknown", "stages": {"unknown": {"uses": ""}}}
"""The least pipeline that has the right shape."""


def check_model(
    model: type[BaseModel], node: Node, value: Any, what: str = ""
) -> Iterable[Problem]:
    """What is wrong with a value, each with its place in ``node``.

    Args:
        model: what the value must be.
        node: the tree from which the value came.
        value: the tree as plain data.
        what: names the thing whose parameters are checked; empty for the pipeline itself.
    """
    try:
        model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        seen: set[tuple[str | int, ...]] = set()
        for item in error.errors(include_url=False):
            path = _in_tree(item, node)
            if path not in seen:
                seen.add(path)
                yield _problem(item, path, model, node, what)


def _in_tree(item: Mapping[str, Any], node: Node) -> tuple[str | int, ...]:
    """A pydantic location without what is no part of the data (names of union members)."""
    path: list[str | int] = []
    value = node.value
    for part in item["loc"]:
        if isinstance(value, dict) and part in value:
            value = value[part].value
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part].value
        elif item["type"] != "missing" or part != item["loc"][-1]:
            continue
        path.append(part)
    return tuple(path)


def _problem(
    item: Mapping[str, Any],
    path: tuple[str | int, ...],
    model: type[BaseModel],
    node: Node,
    what: str,
) -> Problem:
    kind, context = item["type"], item.get("ctx", {})
    parent, name = node.at(path[:-1]), path[-1] if path else ""
    dotted = ".".join(map(str, path))
    noun, of = ("parameter", f" of {what}") if what else ("field", "")
    place = node.at(path)
    if kind == "extra_forbidden":
        names = field_names(model, item["loc"][:-1])
        hint = did_you_mean(str(name), names, f"{noun}s")
        return Problem(f"unknown {noun} '{dotted}'{of}", hint, parent.key(str(name)).where)
    if kind == "missing":
        described = _description(model, item["loc"])
        return Problem(f"{noun} '{dotted}'{of} is missing", described, parent.where)
    if item["loc"] and item["loc"][-1] == "[key]":
        hint = "letters, digits, '_' and '-', and a letter first"
        return Problem(f"'{item['input']}' is not a name", hint, place.where)
    message = _reason(kind, context, item["msg"])
    given = kind_of(place.value)
    if kind.endswith("_type") or kind in {"int_from_float", "bool_parsing", "int_parsing"}:
        text = f"{noun} '{dotted}'{of} {message}, not {given}"
    else:
        text = (
            f"{noun} '{dotted}'{of} {message}, not {json.dumps(place.plain(), ensure_ascii=False)}"
        )
    return Problem(text, _hint(kind, place.value) or _description(model, item["loc"]), place.where)


_REASONS = {
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "path_type": "must be a path",
    "none_required": "must be left out",
    "finite_number": "must be a finite number",
}


def _reason(kind: str, context: Mapping[str, Any], message: str) -> str:
    bounds = {"greater_than": ("above", "gt"), "greater_than_equal": ("at least", "ge")}
    bounds |= {"less_than": ("below", "lt"), "less_than_equal": ("at most", "le")}
    if kind in bounds:
        word, key = bounds[kind]
        return f"must be {word} {context[key]}"
    if kind in {"literal_error", "enum"}:
        return f"must be {context['expected']}"
    if kind == "string_pattern_mismatch":
        return "must be letters, digits, '_' and '-', and a letter first"
    if kind in {"too_short", "too_long"}:
        bound = context.get("min_length", context.get("max_length"))
        return f"must have {'at least' if kind == 'too_short' else 'at most'} {bound} entries"
    if kind == "value_error":
        return str(context.get("error", message))
    return _REASONS.get(kind, message[0].lower() + message[1:])


def _hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and isinstance(value, str):
        return "YAML 1.2 knows true and false only"
    if kind == "int_type" and isinstance(value, str) and value.isdigit():
        return f"write it without quotes and leading zeros: {int(value)}"
    if kind == "int_from_float" and isinstance(value, float):
        return f"write {round(value)}"
    if kind == "string_type" and isinstance(value, int | float):
        return f'quote it: "{value}"'
    return ""


def _fields(model: Any, loc: tuple[str | int, ...]) -> Any:
    """The model, or the field's info, at a location; None where it leads through plain data."""
    found = model
    for part in loc:
        fields = getattr(_inner(found), "model_fields", None)
        if fields is None:
            found = _item(found)
            continue
        by_alias = {info.alias or name: info for name, info in fields.items()}
        if part not in by_alias:
            return None
        found = by_alias[part]
    return found


def _inner(found: Any) -> Any:
    return getattr(found, "annotation", found)


def _item(found: Any) -> Any:
    arguments = getattr(_inner(found), "__args__", ())
    return arguments[-1] if arguments else None


def field_names(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Names of the fields that may stand at a location."""
    fields = getattr(_inner(_fields(model, loc)), "model_fields", {})
    return [info.alias or name for name, info in fields.items()]


def _description(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    found = _fields(model, loc)
    text = getattr(found, "description", None)
    return f"{loc[-1]}: {text}" if text else ""
