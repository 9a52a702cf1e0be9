"""What a kind's class says of it, as data and as text: parameters, ports, metrics, an example."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from edgepipe.dumping import in_order
from edgepipe.kinds import Kind
from edgepipe.stage import Stage, ports_of

_BOUNDS = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ ", "min_length": "length ≥ "}
_BOUNDS |= {"max_length": "length ≤ "}


def describe(kind: Kind) -> dict[str, Any]:
    """Everything about a kind, as plain data."""
    stage = kind.stage
    return {
        "kind": kind.name,
        "summary": summary(stage),
        "description": inspect.getdoc(stage) or "",
        "file": str(kind.path),
        "plugin": kind.plugin,
        "inputs": {
            name: {"type": port.type.__name__, "optional": port.optional}
            for name, port in ports_of(stage).items()
        },
        "outputs": {name: type_.__name__ for name, type_ in stage.outputs.items()},
        "parameters": list(parameters(stage)),
        "metrics": {
            name: {"unit": metric.unit, "meaning": metric.meaning}
            for name, metric in stage.metrics.items()
        },
        "requires": list(stage.requires),
        "environment": stage.environment,
        "measures": stage.measures,
        "example": example(kind),
    }


def summary(stage: type[Stage]) -> str:
    """The first line of a stage's docstring."""
    return (inspect.getdoc(stage) or "").split("\n")[0]


def parameters(model: type[BaseModel], prefix: str = "") -> Iterator[dict[str, Any]]:
    """Each parameter with its type, default, bounds and description; groups are flattened."""
    for name, info in model.model_fields.items():
        path = prefix + (info.alias or name)
        group = _group(info.annotation)
        yield {
            "name": path,
            "type": type_name(info.annotation),
            "required": info.is_required(),
            "default": _default(info),
            "bounds": _bounds(info.metadata),
            "description": info.description or "",
        }
        if group is not None:
            yield from parameters(group, f"{path}.")


def _group(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((a for a in candidates if inspect.isclass(a) and issubclass(a, BaseModel)), None)


def _default(info: FieldInfo) -> Any:
    value = info.get_default(call_default_factory=True) if not info.is_required() else None
    if value is PydanticUndefined:
        return None
    if isinstance(value, BaseModel):
        return in_order(value.model_dump(mode="json"), value)
    return in_order(to_jsonable_python(value, fallback=str), value)


def _bounds(metadata: list[Any]) -> str:
    found = []
    for item in metadata:
        for name, sign in _BOUNDS.items():
            value = getattr(item, name, None)
            if value is not None and not callable(value):
                found.append(f"{sign}{value}")
    return ", ".join(found)


def type_name(annotation: Any) -> str:
    """A type as a reader of YAML calls it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in {Union, types.UnionType}:
        return " | ".join(type_name(a) for a in arguments if a is not type(None))
    if hasattr(annotation, "__metadata__"):
        return type_name(arguments[0])
    if origin in {list, tuple}:
        return f"list of {type_name(arguments[0])}" if arguments else "list"
    if origin is dict or annotation is dict:
        return "mapping"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "mapping"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true | false"}
    names |= {"Path": "path"}
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def example(kind: Kind) -> str:
    """A node in YAML that uses the kind: required parameters, and the first few others."""
    stage = kind.stage
    lines = [f"{kind.name.split('.')[-1]}:", f"  uses: {kind.name}"]
    inputs = [f"{n}: NODE" for n, port in ports_of(stage).items() if not port.optional]
    if inputs:
        lines.append(f"  in: {{{', '.join(inputs)}}}")
    fields = list(stage.model_fields.items())
    shown = [(n, i) for n, i in fields if i.is_required()]
    shown += [(n, i) for n, i in fields if not i.is_required() and _short(i)][: 4 - len(shown)]
    if shown:
        lines.append("  with:")
        for name, info in shown:
            value = (
                f"<{type_name(info.annotation)}>"
                if info.is_required()
                else yaml_text(_default(info))
            )
            lines.append(f"    {info.alias or name}: {value}")
    return "\n".join(lines)


def _short(info: FieldInfo) -> bool:
    return isinstance(_default(info), str | int | float | bool)


def yaml_text(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {yaml_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def text(kind: Kind) -> str:
    """A kind's page for a terminal."""
    data = describe(kind)
    lines = [f"{data['kind']}    {data['file']}", "", data["description"], ""]
    if data["environment"]:
        built = f"edgepipe env sync {data['environment']}"
        lines += [f"runs in the environment {data['environment']}: {built}", ""]
    lines += _table("inputs", _inputs(data))
    lines += _table("outputs", [(n, t, "") for n, t in data["outputs"].items()])
    lines += _table(
        "parameters (with:)",
        [(p["name"], _type_and_default(p), p["description"]) for p in data["parameters"]],
    )
    metrics = [(n, m["unit"], m["meaning"]) for n, m in data["metrics"].items()]
    lines += _table("metrics (for gates)", metrics)
    lines += ["example", *(f"  {line}" for line in data["example"].split("\n"))]
    return "\n".join(lines)


def _inputs(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (name, port["type"], "may be left open" if port["optional"] else "")
        for name, port in data["inputs"].items()
    ]


def _type_and_default(parameter: Mapping[str, Any]) -> str:
    kind = parameter["type"]
    if parameter["bounds"]:
        kind += f" {parameter['bounds']}"
    if parameter["required"]:
        return f"{kind}, required"
    return f"{kind} = {yaml_text(parameter['default'])}"


def _table(title: str, rows: list[tuple[str, str, str]]) -> list[str]:
    if not rows:
        return []
    widths = [min(38, max(len(row[i]) for row in rows)) for i in (0, 1)]
    lines = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows]
    return [title, *lines, ""]
