"""The JSON schema of pipelines: the spec's, with each kind's parameters and ports put in."""

from __future__ import annotations

from typing import Any

from edgepipe.kinds import Kind, Kinds
from edgepipe.manual import summary
from edgepipe.spec import Spec
from edgepipe.stage import ports_of

_VARIABLE = {"type": "string", "pattern": r"\$\{[^}]+\}"}
"""Any value may be a variable instead."""


def pipeline_schema(kinds: Kinds) -> dict[str, Any]:
    """JSON schema (2020-12) of a pipeline file. Raises ConfigError where a kind does not import."""
    schema = Spec.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "edgepipe pipeline"
    # An included file holds a part only, so nothing is required here.
    schema.pop("required", None)
    node = schema["$defs"]["NodeSpec"]
    node["properties"]["uses"]["enum"] = list(kinds.all)
    node["allOf"] = []
    for name, kind in kinds.all.items():
        properties, definitions = _node(kind)
        schema["$defs"] |= definitions
        node["allOf"].append(
            {
                "if": {"properties": {"uses": {"const": name}}, "required": ["uses"]},
                "then": {"properties": properties},
            }
        )
    return schema


def _node(kind: Kind) -> tuple[dict[str, Any], dict[str, Any]]:
    """The properties of a node of a kind, and the definitions that they refer to."""
    stage = kind.stage
    parameters = stage.model_json_schema(by_alias=True)
    prefix = kind.name.replace(".", "_")
    definitions = {
        f"{prefix}_{name}": _with_variables(_renamed(value, prefix))
        for name, value in parameters.pop("$defs", {}).items()
    }
    parameters = _with_variables(_renamed(parameters, prefix))
    parameters["description"] = summary(stage)
    # A parameter may come from the matrix instead.
    parameters.pop("required", None)
    ports = {
        name: {"type": "string", "description": f"a node that gives {port.type.__name__}"}
        for name, port in ports_of(stage).items()
    }
    inputs = {"type": "object", "properties": ports, "additionalProperties": False}
    return {"with": parameters, "in": inputs}, definitions


def _renamed(value: Any, prefix: str) -> Any:
    if isinstance(value, dict):
        return {
            name: f"#/$defs/{prefix}_{item.rsplit('/', 1)[1]}"
            if name == "$ref"
            else _renamed(item, prefix)
            for name, item in value.items()
        }
    return [_renamed(item, prefix) for item in value] if isinstance(value, list) else value


def _with_variables(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {
        name: {"anyOf": [value, _VARIABLE], "description": value.get("description", "")}
        for name, value in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema
