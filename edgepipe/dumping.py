"""Parameters as plain data: the same in every process, whatever order its sets have."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel


def dumped(model: BaseModel) -> dict[str, Any]:
    """A model's parameters as JSON has them, by alias; what a set held is sorted."""
    plain: dict[str, Any] = in_order(model.model_dump(mode="json", by_alias=True), model)
    return plain


def in_order(plain: Any, value: Any) -> Any:
    """A value's plain data, its sets in order; left as it is where a serializer changed its form."""
    if isinstance(plain, dict):
        return {name: in_order(item, part) for (name, item), part in _parts(plain, value)}
    if not isinstance(plain, list) or not isinstance(value, Collection):
        return plain
    if len(plain) != len(value):
        return plain
    # A set gives its items to everyone in one process in the same order.
    items = [in_order(item, part) for item, part in zip(plain, value, strict=True)]
    if not isinstance(value, AbstractSet):
        return items
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _parts(plain: dict[str, Any], value: Any) -> list[tuple[tuple[str, Any], Any]]:
    """Each name and item of a mapping, with what it was made from; None where that is not known."""
    if isinstance(value, Mapping) and len(value) == len(plain):
        return list(zip(plain.items(), value.values(), strict=True))
    fields = type(value).model_fields if isinstance(value, BaseModel) else {}
    names = {info.serialization_alias or name: name for name, info in fields.items()}
    return [(entry, getattr(value, names.get(entry[0], entry[0]), None)) for entry in plain.items()]
