"""What may be a record or a tree: decided here alone, whoever wrote it and wherever it comes from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from edgepipe.plaindata import is_name, is_plain

_LATEST = 1e11
"""Seconds since the epoch that can be shown as a date: some time in the year 5138."""
_LONGEST = 1e10
"""Seconds that a node may take: three centuries."""
_PATH, _PART = 4095, 255
"""Bytes of a path, and of a name in it, that file systems have room for."""
_digest_form = re.compile("[0-9a-f]{64}").fullmatch


def is_digest(value: object) -> bool:
    """Whether a value has the form of a digest or key: 64 hexadecimal digits."""
    return isinstance(value, str) and _digest_form(value) is not None


def check_record(body: Any) -> None:
    """Raise ValueError unless plain data are all fields of a record, each as it can be."""
    if not isinstance(body, dict) or body.keys() != _FIELDS.keys():
        raise ValueError("its fields are not those of a record")
    for name, is_right in _FIELDS.items():
        if not is_right(body[name]):
            raise ValueError(f"its field '{name}' cannot be right")


def check_files(value: Any) -> None:
    """Raise ValueError unless plain data are a tree's files, which can lie in one folder."""
    if not isinstance(value, list):
        raise ValueError("it is no list of files")
    paths = set()
    for item in value:
        if not isinstance(item, dict) or item.keys() != {"path", "digest", "size"}:
            raise ValueError("it is no list of files")
        if not (is_digest(item["digest"]) and _is_count(item["size"])):
            raise ValueError("a file of it has no right digest or size")
        path = item["path"]
        if not _is_path(path):
            raise ValueError("it names a file that is outside, or can be nowhere")
        paths.add(path)
    if len(paths) < len(value):
        raise ValueError("it names a file twice")
    folders = {path.rpartition("/")[0] for path in paths}
    while folders and folders != {""}:
        if not folders.isdisjoint(paths):
            raise ValueError("a file of it is a folder, too")
        folders = {folder.rpartition("/")[0] for folder in folders}


def _is_path(value: object) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    # Names that are no UTF-8 are kept as Python gives them.
    try:
        name = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    parts = name.split(b"/")
    if len(name) > _PATH or any(part in {b"", b".", b".."} or len(part) > _PART for part in parts):
        return False
    return value.isascii() or name.decode("utf-8", "surrogateescape") == value


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_number(value: object) -> bool:
    if type(value) not in {int, float}:
        return False
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except OverflowError:
        return False


def _is_time(value: object, most: float = _LONGEST) -> bool:
    return (type(value) is int or type(value) is float) and 0 <= value <= most


def _is_output(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"type", "tree", "size"}
        and is_name(value["type"])
        and is_digest(value["tree"])
        and _is_count(value["size"])
    )


def _is_made_of(value: object) -> bool:
    # What explains a change reads these by name.
    return (
        isinstance(value, dict)
        and is_plain(value)
        and all(_each(value.get(part, {}), _is_text) for part in ("contents", "inputs", "requires"))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _each(value: object, is_right: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(
        is_name(name) and is_right(item) for name, item in value.items()
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "key": is_digest,
    "kind": is_name,
    "made_of": _is_made_of,
    "outputs": lambda value: _each(value, _is_output),
    "metrics": lambda value: _each(value, _is_number),
    "seconds": _is_time,
    "cpu_seconds": _is_time,
    "peak_memory": _is_count,
    "created": lambda value: _is_time(value, _LATEST),
    "manifests": lambda value: _each(value, is_digest),
}
