"""What the store holds, as values, and the bytes that they are on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgepipe.digest import digest_bytes
from edgepipe.store.valid import check_files, check_record

_VERSION = b"2"


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
        value = json.loads(body.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    check_files(value)
    return tuple(File(**item) for item in value)


def tree_digest(body: bytes) -> str:
    """The digest of a tree's bytes."""
    return digest_bytes("tree", body)


def record_from(body: Any) -> Record:
    """A record from plain data, as `plain` gives it. Raises ValueError where they are none."""
    check_record(body)
    outputs = {port: Output(**item) for port, item in body["outputs"].items()}
    return Record(**{**body, "outputs": outputs})


def plain(record: Record) -> dict[str, Any]:
    """A record as plain data. Raises ValueError where nobody could read it as a record."""
    outputs = {
        port: {"type": o.type, "tree": o.tree, "size": o.size} for port, o in record.outputs.items()
    }
    body = {**record.__dict__, "outputs": outputs}
    check_record(body)
    return body


def pack_record(record: Record, origin: str = "") -> bytes:
    """A record's bytes: a line with the format's version and the rest's digest, then JSON.

    Args:
        record: the record.
        origin: where it came from, if nothing but its place vouches for it; it ends the line.

    Raises:
        ValueError: nobody could read it as a record.
    """
    body = json.dumps(plain(record), separators=(",", ":")).encode()
    words = origin.encode("utf-8", "backslashreplace").split()
    head = b" ".join([_VERSION, _record_digest(_VERSION, body), *words])
    return b"%s\n%s" % (head, body)


def origin_of(data: bytes) -> str:
    """The ``origin`` that `pack_record` was given."""
    words = data.partition(b"\n")[0].split(b" ", 2)
    return words[2].decode("utf-8", "replace") if len(words) > 2 else ""


def unpack_record(data: bytes) -> Record | None:
    """The inverse of `pack_record`; None where another version of edgepipe wrote it.

    Raises:
        ValueError: the bytes are not what was written, or no record.
    """
    head, _, body = data.partition(b"\n")
    version, digest, *_ = [*head.split(b" ", 2), b""]
    if _record_digest(version, body) != digest:
        if data[:1] == b"{" and data[-1:] == b"}":
            return None
        raise ValueError("its bytes are not those that its digest says")
    if version != _VERSION:
        return None
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return record_from(value)


def _record_digest(version: bytes, body: bytes) -> bytes:
    return digest_bytes("record", version + b"\n" + body).encode()
