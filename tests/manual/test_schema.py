"""The JSON schema: it is one, and it takes and refuses what the compiler does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from projects import Folder

from edgepipe.kinds import Kinds
from edgepipe.manual.schema import pipeline_schema
from edgepipe.yamlparse import parse

ROOT = Path(__file__).parent.parent.parent
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads(json.dumps(pipeline_schema(Kinds())))  # type: ignore[no-any-return]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    assert schema["$schema"].endswith("2020-12/schema")
    for reference in references(schema):
        place: Any = schema
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert isinstance(place, dict)


def test_every_kind_has_its_parameters_and_ports(schema: dict[str, Any]) -> None:
    node = schema["$defs"]["NodeSpec"]
    assert node["properties"]["uses"]["enum"] == list(Kinds().all)
    rules = {rule["if"]["properties"]["uses"]["const"]: rule["then"] for rule in node["allOf"]}
    digits = rules["data.digits"]["properties"]
    assert digits["with"]["properties"]["image_size"]["description"]
    assert digits["with"]["additionalProperties"] is False
    assert set(rules["distill.logits"]["properties"]["in"]["properties"]) >= {"teacher", "data"}


def test_it_is_a_schema_and_takes_the_projects_own_pipelines(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in PIPELINES:
        plain = parse(path.read_text(), path.name).plain()
        assert [error.message for error in validator.iter_errors(plain)] == []
    wrong = {"stages": {"a": {"uses": "data.digits", "with": {"image_size": 1}}}}
    assert list(validator.iter_errors(wrong))


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_pipelines_name_only_what_the_schema_knows(path: Path, schema: dict[str, Any]) -> None:
    node = schema["$defs"]["NodeSpec"]
    rules = {rule["if"]["properties"]["uses"]["const"]: rule["then"] for rule in node["allOf"]}
    plain = parse(path.read_text(), path.name).plain()
    assert set(plain) <= set(schema["properties"])
    for stage in plain["stages"].values():
        assert set(stage) <= set(node["properties"])
        if stage["uses"] in rules:
            properties = rules[stage["uses"]]["properties"]
            assert set(stage.get("with") or {}) <= set(properties["with"]["properties"])
            assert set(stage.get("in") or {}) <= set(properties["in"]["properties"])


def test_plugins_are_in_the_projects_schema(project: Folder) -> None:
    found = project.edgepipe("schema").json
    node = found["$defs"]["NodeSpec"]
    assert "double" in node["properties"]["uses"]["enum"]
    assert "parameters_Options" in found["$defs"]
