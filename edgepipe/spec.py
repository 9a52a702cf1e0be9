"""The YAML's shape, as pydantic models; the JSON schema for editors comes from here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgepipe.errors import Problem, did_you_mean
from edgepipe.yamltree import Node, kind_of

Scalar = str | int | float | bool
M = TypeVar("M", bound=BaseModel)
_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]*$"
_NAME = "letters, digits, '_' and '-', and a letter first"
Name = Annotated[str, Field(pattern=_PATTERN)]
_SIZE = r"^[0-9]+(\.[0-9]+)? ?([kKMG]?B|[KMG]iB)$"
Size = Annotated[str, Field(pattern=_SIZE)]
_FORMS = {
    _PATTERN: _NAME,
    _SIZE: "a size in B, kB, MB, GB, KiB, MiB or GiB, like 2 GB or 512 MiB",
}
"""What a person reads instead of a pattern."""


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
    env: Name | None = Field(
        None, description="the locked environment that it runs in, instead of its kind's"
    )
    gpus: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        None, description="GPUs it uses; it sees no others"
    )
    memory: Size | None = Field(
        None, description="what it takes at most, as 2 GB: nodes side by side fit into the machine"
    )
    retries: int = Field(
        0, ge=0, le=100, description="how often it is started again after it failed"
    )
    description: str = Field("", description="for readers and reports")


class Spec(_Spec):
    """A pipeline."""

    edgepipe: Literal[1] = Field(description="version of this format")
    # A run's folder is named after it, and a file name has 255 bytes at most.
    name: Name = Field(max_length=150, description="names the pipeline's runs and reports")
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
    spec, problems = parse_model(Spec, root)
    if spec is not None:
        return spec, []
    plain = root.plain()
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
    return Spec.model_construct(**{**_LEAST, **right, "stages": stages}), list(problems)


_LEAST: dict[str, Any] = {"edgepipe": 1, "name": "unknown", "stages": {"unknown": {"uses": ""}}}
"""The least pipeline that has the right shape."""


def parse_model(model: type[M], node: Node, what: str = "") -> tuple[M | None, Sequence[Problem]]:
    """A model made from a tree, or what is wrong with the tree, each with its place.

    Args:
        model: what the tree must be.
        node: the tree.
        what: names the thing whose parameters are checked; empty for the pipeline itself.
    """
    try:
        return model.model_validate_json(json.dumps(node.plain()), strict=True), ()
    except ValidationError as error:
        return None, list(_problems(error, model, node, what))


def _problems(
    error: ValidationError, model: type[BaseModel], node: Node, what: str
) -> Iterator[Problem]:
    items = {_in_tree(i, node): i for i in reversed(error.errors(include_url=False))}
    unknown = [path for path, item in items.items() if item["type"] == "extra_forbidden"]
    for path, item in reversed(items.items()):
        misspelt = any(u[:-1] == path[:-1] and _near(u, path) for u in unknown)
        # What is misspelt is missing too: that is one mistake.
        if item["type"] != "missing" or not misspelt:
            yield _problem(item, path, model, node, what)


def _near(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return bool(get_close_matches(str(one[-1]), [str(other[-1])]))


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
        group = node.at(path[:-2]).key(str(path[-2])) if len(path) > 1 else node
        return Problem(f"{noun} '{dotted}'{of} is missing", described, group.where)
    if item["loc"] and item["loc"][-1] == "[key]":
        hint = f"a name is {_NAME}"
        return Problem(f"'{item['input']}' is not a name", hint, parent.key(str(name)).where)
    message = _reason(kind, context, item["msg"])
    given = kind_of(place.value)
    if not kind.endswith("_type"):
        given = json.dumps(place.plain(), ensure_ascii=False)
        if len(given) > 60:
            counted = kind.endswith("too_long") and isinstance(place.value, str)
            given = str(len(place.value)) if counted else kind_of(place.value)
    subject = f"{noun} '{dotted}'{of}" if dotted else f"what stands here{of and ' for'}{of[3:]}"
    text = f"{subject} {message}, not {given}"
    return Problem(text, _hint(kind, place.value) or _description(model, item["loc"]), place.where)


_REASONS = {
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "path_type": "must be a path",
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
        pattern = context["pattern"]
        return f"must be {_FORMS[pattern]}" if pattern in _FORMS else f"must match {pattern}"
    if kind.endswith(("too_short", "too_long")):
        bound = context.get("min_length", context.get("max_length"))
        plural = ("entry", "entries") if not kind.startswith("string") else ("sign", "signs")
        least = "at least" if kind.endswith("short") else "at most"
        return f"must have {least} {bound} {plural[bound != 1]}"
    if kind == "value_error":
        return str(context.get("error", message))
    return _REASONS.get(kind, message[0].lower() + message[1:])


def _hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and isinstance(value, str):
        word = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower())
        return f"{'write ' + word + ': ' if word else ''}YAML 1.2 knows true and false only"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if kind == "int_type" and isinstance(value, str):
        number = re.fullmatch(r"0*([0-9][0-9_]*)|0x[0-9a-fA-F]+", value)
        return f"write {int(number[1] or value, 10 if number[1] else 16)}" if number else ""
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
    """A field's type; of several the model."""
    annotation = getattr(found, "annotation", found)
    alternatives = get_args(annotation) if isinstance(annotation, UnionType) else ()
    return next((a for a in alternatives if hasattr(a, "model_fields")), annotation)


def _item(found: Any) -> Any:
    arguments = getattr(_inner(found), "__args__", ())
    return arguments[-1] if arguments else None


def field_names(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Names of the fields that may stand at a location."""
    fields = getattr(_inner(_fields(model, loc)), "model_fields", {})
    return [info.alias or name for name, info in fields.items()]


def _description(model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    """What a field's author says of it, or of the list or mapping that it stands in."""
    for end in range(len(loc), 0, -1):
        text = getattr(_fields(model, loc[:end]), "description", None)
        if text:
            return f"{loc[end - 1]}: {text}"
    return ""
