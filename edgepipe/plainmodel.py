"""What stands in for pydantic in a worker that does not have it: standard library only.

It reads parameters that pydantic has validated and written as JSON, so it checks nothing but
names, and turns JSON's types into those of the annotations: lists into tuples, texts into paths,
mappings into groups. Only what stages use of pydantic is here.
"""

from __future__ import annotations

import copy
import enum
import inspect
import json
import sys
import types
import typing
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path, PurePath
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin

_MISSING: Any = object()
_CONFIG = "model_config"


def ConfigDict(**settings: Any) -> dict[str, Any]:  # noqa: N802  pydantic's name
    """How a model behaves; only ``frozen`` matters here."""
    return settings


class ValidationError(ValueError):
    """The data does not have the model's names."""


class FieldInfo:
    """A field: its annotation, and what it is without a value."""

    def __init__(
        self, default: Any, default_factory: Callable[[], Any] | None, alias: str | None, about: Any
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.alias = alias
        self.description: str | None = about
        self.annotation: Any = None

    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is _MISSING and self.default_factory is None

    def get_default(self) -> Any:
        """A default of one's own: no two instances share a list."""
        if self.default_factory is not None:
            return self.default_factory()
        return copy.deepcopy(self.default)


def Field(  # noqa: N802  pydantic's name
    default: Any = _MISSING,
    *,
    default_factory: Callable[[], Any] | None = None,
    alias: str | None = None,
    description: str | None = None,
    **constraints: Any,
) -> Any:
    """A field of a model. Its constraints were checked by the parent."""
    default = _MISSING if default is ... else default
    return FieldInfo(default, default_factory, alias, description)


class BaseModel(metaclass=ABCMeta):
    """A class whose annotations are its fields."""

    model_config: ClassVar[Mapping[str, Any]] = {}
    model_fields: ClassVar[Mapping[str, FieldInfo]]

    def __init__(self, **data: Any) -> None:
        cls = type(self)
        names = {info.alias or name: name for name, info in cls.model_fields.items()}
        names |= {name: name for name in cls.model_fields}
        unknown = [name for name in data if name not in names]
        if unknown:
            raise ValidationError(f"{cls.__name__} has no parameter '{unknown[0]}'")
        given = {names[name]: value for name, value in data.items()}
        for name, info in cls.model_fields.items():
            if name in given:
                value = given[name]
            elif info.is_required():
                raise ValidationError(f"{cls.__name__}: the parameter '{name}' is missing")
            else:
                value = info.get_default()
            self.__dict__[name] = value

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Annotations may name what the module defines further down, so they are read when asked.
        cls.model_fields = _Fields(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if self.model_config.get("frozen"):
            raise ValidationError(f"{type(self).__name__} is frozen")
        self.__dict__[name] = value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *map(str, self.__dict__.items())))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).model_fields)
        return f"{type(self).__name__}({fields})"

    @classmethod
    def model_validate(cls, data: Any, *, strict: bool | None = None) -> Self:
        """A model from plain data. Raises ValidationError where a name does not fit."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, Mapping):
            raise ValidationError(f"{cls.__name__} is made from a mapping, not {data!r}")
        known = {info.alias or name: info for name, info in cls.model_fields.items()}
        known |= dict(cls.model_fields)
        return cls(
            **{n: convert(known[n].annotation, v) if n in known else v for n, v in data.items()}
        )

    @classmethod
    def model_validate_json(cls, text: str | bytes, *, strict: bool | None = None) -> Self:
        """The same from JSON."""
        return cls.model_validate(json.loads(text))

    def model_dump(self, *, mode: str = "python", by_alias: bool = False) -> dict[str, Any]:
        """Plain data; with mode "json" only what JSON has."""
        found = {}
        for name, info in type(self).model_fields.items():
            found[(info.alias or name) if by_alias else name] = _plain(
                getattr(self, name), mode, by_alias
            )
        return found

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with some fields changed."""
        made = copy.copy(self)
        made.__dict__.update(update or {})
        return made


class _Fields(Mapping[str, FieldInfo]):
    """A class' fields, its bases' first."""

    def __init__(self, owner: type[BaseModel]) -> None:
        self._owner = owner
        self._found: dict[str, FieldInfo] | None = None

    def _all(self) -> dict[str, FieldInfo]:
        if self._found is None:
            found: dict[str, FieldInfo] = {}
            for base in reversed(self._owner.__mro__):
                if issubclass(base, BaseModel) and base is not BaseModel:
                    found |= _own_fields(base)
            self._found = found
        return self._found

    def __getitem__(self, name: str) -> FieldInfo:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _own_fields(owner: type[BaseModel]) -> dict[str, FieldInfo]:
    scope = vars(sys.modules[owner.__module__])
    found = {}
    for name, annotation in inspect.get_annotations(owner).items():
        if isinstance(annotation, str):
            annotation = eval(annotation, scope, dict(vars(owner)))  # noqa: S307  as typing does
        if ClassVar in (annotation, get_origin(annotation)) or name.startswith("_"):
            continue
        given = owner.__dict__.get(name, _MISSING)
        info = given if isinstance(given, FieldInfo) else FieldInfo(given, None, None, None)
        info.annotation = annotation
        found[name] = info
    return found


def convert(annotation: Any, value: Any) -> Any:
    """A value that JSON gave as the annotation wants it.

    Raises:
        TypeError: the annotation is of a kind that has no counterpart here.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return convert(arguments[0], value)
    if origin in {Union, types.UnionType}:
        fitting = [a for a in arguments if _fits(a, value)]
        if not fitting and type(value) is int:
            fitting = [a for a in arguments if _fits(a, float(value))]
        return convert((fitting or arguments)[0], value)
    if annotation is Any or origin is Literal or value is None or annotation is object:
        return value
    if origin in _CONTAINERS or annotation in _CONTAINERS:
        return _container(origin or annotation, arguments, value)
    if isinstance(annotation, type):
        return _instance(annotation, value)
    raise TypeError(f"a parameter of the type {annotation} cannot be used in an environment")


_CONTAINERS: dict[Any, Callable[[Any], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: list,
    AbstractSet: set,
    dict: dict,
    Mapping: dict,
}


def _container(kind: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    make = _CONTAINERS[kind]
    if make is dict:
        keys, values = arguments or (Any, Any)
        return {_key(keys, k): convert(values, v) for k, v in value.items()}
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return tuple(convert(a, v) for a, v in zip(arguments, value, strict=True))
    item = arguments[0] if arguments else Any
    return make(convert(item, v) for v in value)


def _key(annotation: Any, text: str) -> Any:
    """JSON's keys are texts."""
    return annotation(text) if annotation in {int, float} else convert(annotation, text)


def _instance(annotation: type, value: Any) -> Any:
    if issubclass(annotation, BaseModel):
        return annotation.model_validate(value)
    if issubclass(annotation, enum.Enum | PurePath):
        return annotation(value)
    if annotation is float and not isinstance(value, bool):
        return float(value)
    if annotation in {int, str, bool}:
        return value
    message = f"a parameter of the type {annotation.__name__} cannot be used in an environment"
    raise TypeError(message)


def _fits(annotation: Any, value: Any) -> bool:
    """Whether a value that JSON gave is of this alternative."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return _fits(arguments[0], value)
    if origin in {Union, types.UnionType}:
        return any(_fits(a, value) for a in arguments)
    if origin is Literal:
        return any(type(a) is type(value) and a == value for a in arguments)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is Any:
        return True
    kind = origin or annotation
    if kind in _CONTAINERS:
        return isinstance(value, dict if _CONTAINERS[kind] is dict else list)
    if not isinstance(kind, type):
        return False
    if issubclass(kind, BaseModel):
        return isinstance(value, dict) and value.keys() <= {*kind.model_fields}
    if issubclass(kind, enum.Enum):
        return any(member.value == value for member in kind)
    return isinstance(value, str) if issubclass(kind, PurePath) else type(value) is kind


def _plain(value: Any, mode: str, by_alias: bool) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode=mode, by_alias=by_alias)
    if isinstance(value, dict):
        return {key: _plain(item, mode, by_alias) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item, mode, by_alias) for item in value]
        return items if mode == "json" else type(value)(items)
    if mode == "json":
        value = value.value if isinstance(value, enum.Enum) else value
        return str(value) if isinstance(value, Path) else value
    return value
