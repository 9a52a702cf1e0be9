"""What the store holds, as values, and the bytes that they are on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepipe.digest import digest_bytes

_VERSION = b"2"
_digest_form = re.compile("[0-9a-f]{64}").fullmatch


def is_digest(value: object) -> bool:
    """Whether a value has the form of a digest or key: 64 hexadecimal digits."""
    return isinstance(value, str) and _digest_form(value) is not None


@dataclass(frozen=True, slots=True)
class File:
    """A file of a tree: its path (posix, relative), digest and size in bytes."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class Tree:
    """A folder's content; equal content has an equal digest."""

    digest: str
    files: tuple[File, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Output:
    """An output in a record. ``size`` is that of the artifact's payload, in bytes."""

    type: str
    tree: str
    size: int


@dataclass(frozen=True)
class Record:
    """What a key's computation made, and what the key was made of."""

    key: str
    kind: str
    made_of: Mapping[str, Any]
    outputs: Mapping[str, Output]
    metrics: Mapping[str, float]
    seconds: float
    cpu_seconds: float
    peak_memory: int
    created: float
    """Seconds since the epoch."""
    manifests: Mapping[str, str] = field(default_factory=dict)
    """Name → digest of the JSON object that explains a part of the key (`Store.get_json`)."""


@dataclass(frozen=True)
class Damage:
    """Something in the store that was not what its name says."""

    digest: str
    """Of the object, or the record's key; empty for the list of verified objects."""
    what: str
    """One sentence."""
    where: str
    """Where a person finds it now; empty if it could not be moved."""

    @property
    def said(self) -> str:
        """What a person is told of it."""
        return self.what + (f"; it is kept in {self.where}" if self.where else "")


def pack_tree(files: Iterable[File]) -> bytes:
    """A tree's canonical bytes."""
    value = [{"digest": f.digest, "path": f.path, "size": f.size} for f in files]
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def unpack_tree(body: bytes) -> tuple[File, ...]:
    """The inverse of `pack_tree`. Raises ValueError where the bytes are no tree."""
    try:
        files = tuple(File(**item) for item in json.loads(body.decode("utf-8", "surrogatepass")))
    except TypeError as error:
        raise ValueError(str(error)) from None
    for file in files:
        if not (is_digest(file.digest) and isinstance(file.path, str) and _size(file.size)):
            raise ValueError("a file of the tree has no path, digest or size")
    return files


def tree_digest(body: bytes) -> str:
    """The digest of a tree's bytes."""
    return digest_bytes("tree", body)


def pack_record(record: Record) -> bytes:
    """A record's bytes: a line with the format's version and the rest's digest, then JSON."""
    value = {
        **record.__dict__,
        "outputs": {
            port: {"type": o.type, "tree": o.tree, "size": o.size}
            for port, o in record.outputs.items()
        },
    }
    body = json.dumps(value, separators=(",", ":")).encode()
    return b"%s %s\n%s" % (_VERSION, _record_digest(_VERSION, body), body)


def unpack_record(data: bytes) -> Record | None:
    """The inverse of `pack_record`; None where another version of edgepipe wrote it.

    Raises:
        ValueError: the bytes are not what was written.
    """
    head, _, body = data.partition(b"\n")
    version, _, digest = head.partition(b" ")
    if _record_digest(version, body) != digest:
        if data[:1] == b"{" and data[-1:] == b"}":
            return None
        raise ValueError("its bytes are not those that its digest says")
    if version != _VERSION:
        return None
    try:
        value = json.loads(body)
        outputs = {port: Output(**item) for port, item in value.pop("outputs").items()}
        record = Record(**value, outputs=outputs)
        return record if _right(record) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _record_digest(version: bytes, body: bytes) -> bytes:
    return digest_bytes("record", version + b"\n" + body).encode()


def _right(record: Record) -> bool:
    texts = (record.kind, *(o.type for o in record.outputs.values()))
    digests = (record.key, *(o.tree for o in record.outputs.values()), *record.manifests.values())
    numbers = (record.seconds, record.cpu_seconds, record.created, *record.metrics.values())
    sizes = (record.peak_memory, *(o.size for o in record.outputs.values()))
    return (
        isinstance(record.made_of, dict)
        and all(isinstance(text, str) for text in texts)
        and all(map(is_digest, digests))
        and all(isinstance(number, float | int) for number in numbers)
        and all(map(_size, sizes))
    )


def _size(value: object) -> bool:
    return isinstance(value, int) and value >= 0
