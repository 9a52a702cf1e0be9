"""A record and a tree as they travel: checked to the last field, since anybody may have written them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from edgepipe.digest import canonical, digest_bytes
from edgepipe.remote.transport import RejectedError
from edgepipe.signing import Signer
from edgepipe.store import File, Output, Record, Tree

FORMAT = 1
DOMAIN = "edgepipe record 1"
RECORD_LIMIT = 4 << 20
TREE_LIMIT = 64 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class NotARecordError(RejectedError):
    """The bytes are no record at all: this is no remote, or it is damaged."""


class UntrustedError(RejectedError):
    """The record's signature is missing or wrong."""


class OtherFormatError(Exception):
    """A record of another version of edgepipe: none for us, and not ours to replace."""


def is_digest(value: object) -> bool:
    """Whether this is the hex of a digest: nothing else may become a part of a path."""
    return isinstance(value, str) and _DIGEST.match(value) is not None


def encode_record(record: Record, signer: Signer | None) -> bytes:
    """A record's bytes for the remote. Raises ValueError if it holds a number that is not finite."""
    body = asdict(record)
    signature = signer.sign(DOMAIN, canonical(body)) if signer else None
    return canonical({"edgepipe": FORMAT, "record": body, "hmac-sha256": signature})


def decode_record(data: bytes, key: str, signer: Signer | None) -> Record:
    """Read a record that the remote gave for ``key``.

    With a signer, the signature is checked before anything else is looked at. It covers all
    fields, the key among them: a record cannot be moved under another key.

    Raises:
        RejectedError: NotARecordError, UntrustedError, or what it says cannot be.
        OtherFormatError: another version wrote it.
    """
    try:
        value = json.loads(data)
        body, number = value["record"], value["edgepipe"]
        if number != FORMAT or isinstance(number, bool):
            raise OtherFormatError
        plain = canonical(body)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NotARecordError("it is no record") from None
    if signer is not None:
        signature = value.get("hmac-sha256")
        if signature is None:
            raise UntrustedError("it is not signed")
        if not signer.accepts(DOMAIN, plain, signature):
            raise UntrustedError("its signature is wrong")
    try:
        record = _record(body)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise RejectedError("its fields are not those of a record") from None
    if record.key != key:
        raise RejectedError("it is the record of another key")
    return record


def _record(body: Mapping[str, Any]) -> Record:
    fields = dict(body)
    outputs = {
        _name(port): Output(_name(item["type"]), _digest(item["tree"]), _count(item["size"]))
        for port, item in fields.pop("outputs").items()
        if _only(item, {"type", "tree", "size"})
    }
    return Record(
        **{
            **fields,
            "key": _digest(fields["key"]),
            "kind": _name(fields["kind"]),
            "made_of": _mapping(fields["made_of"]),
            "metrics": _each(fields["metrics"], _number),
            "seconds": _number(fields["seconds"]),
            "cpu_seconds": _number(fields["cpu_seconds"]),
            "peak_memory": _count(fields["peak_memory"]),
            "created": _number(fields["created"]),
            "manifests": _each(fields["manifests"], _digest),
        },
        outputs=outputs,
    )


def decode_tree(data: bytes, digest: str) -> Tree:
    """Read a tree whose bytes were asked for by ``digest``. Raises RejectedError."""
    if digest_bytes("tree", data) != digest:
        raise RejectedError("it is not what its digest says")
    try:
        items = json.loads(data)
        files = tuple(
            File(_path(item["path"]), _digest(item["digest"]), _count(item["size"]))
            for item in items
            if _only(item, {"path", "digest", "size"})
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RejectedError("it is no list of files") from None
    if len({file.path for file in files}) < len(files):
        raise RejectedError("it names a file twice")
    return Tree(digest, files)


def _only(item: Mapping[str, Any], names: set[str]) -> bool:
    if set(item) != names:
        raise ValueError(f"not the fields {names}")
    return True


def _digest(value: Any) -> str:
    if not is_digest(value):
        raise ValueError("no digest")
    return str(value)


def _name(value: Any) -> str:
    # It is shown in terminals and reports.
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("no name")
    return value


def _path(value: Any) -> str:
    path = PurePosixPath(value)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    if not inside or path.as_posix() != value or "\0" in value:
        raise ValueError("no path inside")
    return str(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("no count")
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float} or not math.isfinite(value):
        raise ValueError("no number")
    number: float = value
    return number


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("no mapping")
    return value


def _each(value: Any, check: Callable[[Any], Any]) -> dict[str, Any]:
    return {_name(name): check(item) for name, item in _mapping(value).items()}
