"""Whether running a module's code left the module as it was: a worker then need not import it anew.

Importing a stage's class takes longer than many a stage's work. Where a value is of a kind that is
not known here, the answer is that it may have changed.
"""

from __future__ import annotations

import logging
import re
from abc import ABC
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any

from edgepipe.parameters import BaseModel

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_FIXED = (
    *(BuiltinFunctionType, GenericAlias, GetSetDescriptorType, MemberDescriptorType, ModuleType),
    *(UnionType, WrapperDescriptorType, re.Pattern, PurePath, Enum, logging.Logger),
    type(vars(ABC)["_abc_impl"]),
)
_WORDS = {"typing", "typing_extensions", "__future__"}
"""Modules all of whose values are fixed."""
_OF_MODULES = {
    *(
        "__annotate__",
        "__annotations__",
        "__builtins__",
        "__cached__",
        "__conditional_annotations__",
    ),
    *("__doc__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"),
    "__warningregistry__",
}
"""Names in a module that Python puts there."""
_OF_CLASSES = {
    *("__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__"),
    *("__dataclass_fields__", "__dataclass_params__", "__orig_bases__", "__parameters__"),
}
_OF_MEMBERS = {"__objclass__", "_inverted_"}
"""Those of an enum's member lead back to the class."""
_OF_MODELS = {"model_fields", *vars(type("_Empty", (BaseModel,), {}))} - {"model_config"}
"""Names in a class of parameters that pydantic puts there."""


class UnknownError(Exception):
    """A value of which it cannot be told whether it changes."""


def state(modules: Iterable[ModuleType]) -> object:
    """What compares equal as long as nothing in these modules changes.

    Raises:
        UnknownError: they hold something that cannot be looked into.
    """
    known = list(modules)
    names = {module.__name__ for module in known}
    return [
        (name, _of(value, names, 0))
        for module in known
        for name, value in vars(module).items()
        if name not in _OF_MODULES
    ]


def _of(value: Any, own: set[str], depth: int) -> object:
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if depth > 8:
        raise UnknownError
    if kind in (list, tuple):
        return kind, id(value), [_of(item, own, depth + 1) for item in value]
    if kind in (set, frozenset):
        return kind, id(value), {item: _of(item, own, depth + 1) for item in value}
    if kind in (dict, MappingProxyType):
        return (
            kind,
            id(value),
            [(_of(k, own, depth + 1), _of(v, own, depth + 1)) for k, v in value.items()],
        )
    if kind in (staticmethod, classmethod):
        return id(value), _of(value.__func__, own, depth + 1)
    if kind is property:
        return id(value), [_of(f, own, depth + 1) for f in (value.fget, value.fset, value.fdel)]
    if isinstance(value, type):
        return id(value), _class(value, own, depth) if value.__module__ in own else None
    if kind is FunctionType:
        return id(value), _function(value, own, depth) if value.__module__ in own else None
    if isinstance(value, Enum) and kind.__module__ in own:
        return id(value), _parts(value, _OF_MEMBERS, own, depth)
    if kind.__module__ in own:
        raise UnknownError
    if isinstance(value, _FIXED) or kind.__module__ in _WORDS or _is_frozen(kind):
        return id(value)
    raise UnknownError


def _class(value: type, own: set[str], depth: int) -> object:
    machinery = _OF_CLASSES | _OF_MODELS if issubclass(value, BaseModel) else _OF_CLASSES
    return _parts(value, machinery, own, depth)


def _parts(value: object, machinery: set[str], own: set[str], depth: int) -> object:
    return [
        (name, _of(part, own, depth + 1))
        for name, part in vars(value).items()
        if name not in machinery
    ]


def _function(value: FunctionType, own: set[str], depth: int) -> object:
    parts: list[Any] = [value.__defaults__, value.__kwdefaults__, vars(value)]
    parts += [cell.cell_contents for cell in value.__closure__ or ()]
    # Classes and functions lead back to themselves.
    return [_of(part, own, depth + 2) for part in parts if part]


def _is_frozen(kind: type) -> bool:
    """Whether it is one of the engine's own values: ports, metrics, marks."""
    parameters: Mapping[str, Any] | Any = getattr(kind, "__dataclass_params__", None)
    return kind.__module__.startswith("edgepipe.") and bool(getattr(parameters, "frozen", False))
