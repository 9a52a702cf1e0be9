"""What stands in for pydantic gives stages the same attributes that pydantic gives them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from edgepipe import plainmodel
from edgepipe.kinds import Kinds

CASES = Path(__file__).parent / "cases"
KINDS = Kinds((CASES / "plugins",)).all

DESCRIBE = '''
def describe(value):
    """A value as its types and contents, groups as their fields."""
    fields = getattr(type(value), "model_fields", None)
    if fields is not None:
        inner = {name: describe(getattr(value, name)) for name in fields}
        return [type(value).__name__, inner, value.model_dump(mode="json", by_alias=True)]
    if isinstance(value, dict):
        return ["dict", [[describe(k), describe(v)] for k, v in value.items()]]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [describe(item) for item in value]]
    return [type(value).__name__, str(value)]
'''
THERE = f"""
import json, sys
from pathlib import Path
from edgepipe.kinds import Kinds
{DESCRIBE}
kinds = Kinds((Path(sys.argv[1]),)).all
found = {{}}
for name, cases in json.load(sys.stdin).items():
    stage = kinds[name].stage
    found[name] = [describe(stage.model_validate_json(json.dumps(case))) for case in cases]
print(json.dumps([found, sorted({{"pydantic", "blake3", "rich", "yaml"}} & set(sys.modules))]))
"""
scope: dict[str, Any] = {}
exec(DESCRIBE, scope)
describe = scope["describe"]


def vary(annotation: Any, info: FieldInfo | None, number: int) -> Any:
    """A right value that is not the default, as JSON has it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return vary(arguments[0], info, number)
    if origin in {typing.Union, types.UnionType}:
        return vary(arguments[number % len(arguments)], info, number)
    if origin is Literal:
        return arguments[number % len(arguments)]
    if annotation is type(None):
        return None
    if origin in {list, tuple}:
        fixed = origin is tuple and arguments[-1] is not Ellipsis
        items = arguments if fixed else arguments[:1] * 2
        return [vary(item, info if fixed else None, number) for item in items]
    if origin is dict:
        return {f"key{i}": vary(arguments[1], None, number + i) for i in range(3)}
    if annotation is bool:
        return number % 2 == 0
    if annotation in {int, float}:
        low, high = bounds(info)
        value = low + (high - low) * (number % 3 + 1) / 4
        return math.ceil(value) if annotation is int else value
    if annotation in {str, Path}:
        return f"file{number}.py:name"
    assert issubclass(annotation, BaseModel), annotation
    return parameters(annotation, number)


def bounds(info: FieldInfo | None) -> tuple[float, float]:
    low, high = 0.0, 8.0
    for item in info.metadata if info else ():
        low = getattr(item, "ge", getattr(item, "gt", low))
        high = getattr(item, "le", getattr(item, "lt", high))
    return low, max(high, low + 8) if high == 8.0 else high


def parameters(model: type[BaseModel], number: int) -> dict[str, Any]:
    found = {}
    for place, (name, info) in enumerate(model.model_fields.items()):
        # Some are left out: then the default counts.
        if info.is_required() or (place + number) % 3:
            found[info.alias or name] = vary(info.annotation, info, number)
    return found


def test_every_kinds_parameters_are_the_same_both_ways() -> None:
    given: dict[str, list[Any]] = {}
    expected: dict[str, list[Any]] = {}
    for name, kind in KINDS.items():
        stages = [
            kind.stage.model_validate_json(json.dumps(parameters(kind.stage, number)))
            for number in range(6)
        ]
        given[name] = [stage.model_dump(mode="json", by_alias=True) for stage in stages]
        # As a worker that has pydantic reads them.
        read = [kind.stage.model_validate_json(json.dumps(case)) for case in given[name]]
        expected[name] = [describe(stage) for stage in read]
    done = subprocess.run(
        [sys.executable, "-c", THERE, str(CASES / "plugins")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "EDGEPIPE_PLAIN_PARAMETERS": "1"},
    )
    found, loaded = json.loads(done.stdout)
    assert loaded == []
    assert found == json.loads(json.dumps(expected))
    varied = [name for name, cases in given.items() if cases[0] != cases[1]]
    assert len(varied) > len(KINDS) / 2


class Part(plainmodel.BaseModel):
    """A group."""

    model_config = plainmodel.ConfigDict(frozen=True)
    names: tuple[str, ...] = plainmodel.Field((), description="texts")


class Whole(plainmodel.BaseModel):
    """One of each that stages use."""

    kind: typing.ClassVar[str] = "none"
    number: float = plainmodel.Field(gt=0)
    part: Part = Part()
    maybe: Part | float | None = None
    many: list[int] = plainmodel.Field(default_factory=lambda: [1])
    by_number: dict[int, float] = plainmodel.Field({})
    other: int = plainmodel.Field(3, alias="else")


def test_defaults_are_ones_own() -> None:
    one, other = Whole(number=1.0), Whole(number=1.0)
    assert one == other
    one.many.append(2)
    assert other.many == [1]
    assert one != other
    assert hash(one) != hash(other)
    assert repr(Part(names=("a",))) == "Part(names=('a',))"


def test_json_becomes_what_the_annotations_say() -> None:
    text = '{"number": 2, "part": {"names": ["a"]}, "maybe": {"names": []}, "by_number": {"1": 2}}'
    made = Whole.model_validate_json(text)
    assert type(made.number) is float
    assert made.part.names == ("a",)
    assert isinstance(made.maybe, Part)
    assert made.by_number == {1: 2.0}
    assert Whole.model_validate({"number": 1, "maybe": 2}).maybe == 2.0
    assert Whole.model_validate({"number": 1, "else": 4}).other == 4
    assert made.model_dump(by_alias=True)["else"] == 3
    assert Whole.model_validate(made) is made
    assert made.model_copy(update={"number": 9.0}).number == 9.0


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="has no parameter 'nubmer'"):
        Whole.model_validate({"nubmer": 1})
    with pytest.raises(ValueError, match="'number' is missing"):
        Whole.model_validate({})
    with pytest.raises(ValueError, match="made from a mapping"):
        Whole.model_validate([])
    with pytest.raises(ValueError, match="Part is frozen"):
        Part().names = ()
    made = Whole(number=1.0)
    made.number = 2.0
    assert made.number == 2.0


def test_what_has_no_counterpart_is_said() -> None:
    with pytest.raises(TypeError, match="bytes cannot be used in an environment"):
        plainmodel.convert(bytes, "x")
    with pytest.raises(TypeError, match="cannot be used in an environment"):
        plainmodel.convert(typing.TypeVar("T"), "x")


def test_pydantic_has_the_same_default_for_a_required_field() -> None:
    assert PydanticUndefined is FieldInfo().default
    assert Whole.model_fields["number"].is_required()
