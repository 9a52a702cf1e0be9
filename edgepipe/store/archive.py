"""Records and their objects in one tar file, to carry to another machine.

The first member, ``edgepipe-cache.json``, lists name and size of all that follow: objects, then
records, each under its path in the store and in the order of the names. Equal content gives equal
bytes.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from edgepipe.errors import StoreError
from edgepipe.store import files
from edgepipe.store.files import explained
from edgepipe.store.model import Record, pack_record, unpack_record
from edgepipe.store.valid import is_digest

if TYPE_CHECKING:
    from edgepipe.store import Store

INDEX = "edgepipe-cache.json"
_VERSION = 1
_LONGEST_INDEX = 256 << 20
"""Bytes; some two million objects."""


@dataclass(frozen=True)
class Moved:
    """What an export or import carried; ``size`` is in bytes."""

    records: int
    objects: int
    size: int
    """Of all objects."""
    new: int
    """How many of the records were not there before (import)."""


def export(store: Store, target: Path, keys: Iterable[str]) -> Moved:
    """Write the records of these keys, with all that they need, into a tar.

    Raises:
        StoreError: a record is missing or not whole, or the file cannot be written.
    """
    records: dict[str, bytes] = {}
    objects: dict[str, int] = {}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    with store.using(), explained(target):
        for key in keys:
            record = store.record(key)
            if record is None:
                hint = "run the pipeline, then export again; edgepipe cache verify finds out more"
                raise StoreError(f"the record {key[:12]} is missing or not whole", hint)
            records[key] = pack_record(record)
            objects |= _objects_of(store, record)
        members = {_name("objects", digest): size for digest, size in sorted(objects.items())}
        members |= {_name("records", key): len(body) for key, body in sorted(records.items())}
        index = {"version": _VERSION, "members": members}
        try:
            with temporary.open("xb") as file:
                _write(store, file, json.dumps(index).encode(), objects, records)
                os.fsync(file.fileno())
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
    return Moved(len(records), len(objects), sum(objects.values()), 0)


def _write(
    store: Store, file: IO[bytes], index: bytes, objects: dict[str, int], records: dict[str, bytes]
) -> None:
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(_member(INDEX, len(index)), BytesIO(index))
        for digest, size in sorted(objects.items()):
            with store.object_path(digest).open("rb") as source:
                tar.addfile(_member(_name("objects", digest), size), source)
        for key, body in sorted(records.items()):
            tar.addfile(_member(_name("records", key), len(body)), BytesIO(body))


def _objects_of(store: Store, record: Record) -> dict[str, int]:
    """Digest → size of all that a whole record needs, and of what explains it."""
    found: dict[str, int] = {}
    for output in record.outputs.values():
        tree = store.tree(output.tree)
        found |= {file.digest: file.size for file in tree.files}
        found[tree.digest] = files.size_of(os.fspath(store.object_path(tree.digest)))
    for digest in record.manifests.values():
        path = store.object_path(digest)
        if path.is_file() and store.objects.right(digest, tree=False):
            found[digest] = path.stat().st_size
    return found


def _name(table: str, digest: str) -> str:
    return f"{table}/{digest[:2]}/{digest[2:]}"


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, files.READ_ONLY
    return member


def take_in(store: Store, source: Path) -> Moved:
    """Read a tar that `export` wrote. Nothing of it is used before all was found right.

    Raises:
        StoreError: it is no such tar, a byte of it is wrong, or the disk is full.
    """
    staging = store.staging()
    try:
        with explained(source), source.open("rb") as file:
            try:
                with tarfile.open(fileobj=file, mode="r|") as tar:
                    staged, records = _read(tar, source, staging, os.fstat(file.fileno()).st_size)
            except RecursionError:
                _refuse(source, "its headers are nested too deep")
            except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
                _refuse(source, f"it is no whole tar ({str(error) or 'cut off'})")
        with store.using():
            # From a good record's object no byte is taken on trust: adopt hashes each.
            for digest, path in staged.items():
                store.adopt(path, digest)
            size = sum(files.size_of(os.fspath(store.object_path(digest))) for digest in staged)
            for record in records:
                if not all(store.has(output.tree) for output in record.outputs.values()):
                    _refuse(source, f"an object of the record {record.key[:12]} is missing in it")
            new = [record for record in records if store.record(record.key) is None]
            for record in new:
                store.put_record(record, f"the archive {source.name}")
        store.sync()
        return Moved(len(records), len(staged), size, len(new))
    finally:
        store.discard(staging)


def _read(
    tar: tarfile.TarFile, source: Path, staging: Path, available: int
) -> tuple[dict[str, Path], list[Record]]:
    members: dict[str, int] | None = None
    staged: dict[str, Path] = {}
    records: list[Record] = []
    for member in tar:
        # A sparse, linked or special member has another type, or headers of its own.
        if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or member.pax_headers:
            _refuse(source, f"{member.name!r} in it is no regular file")
        if member.size > available:
            _refuse(source, f"{member.name!r} in it is cut off")
        body = tar.extractfile(member)
        assert body is not None
        if members is None:
            if member.name != INDEX or member.size > _LONGEST_INDEX:
                _refuse(source, f"its first member is not {INDEX}")
            members = _index(source, body.read())
            _check_space(source, staging, sum(members.values()))
            continue
        if members.pop(member.name, -1) != member.size:
            _refuse(source, f"{member.name!r} in it is not what its index declares")
        table, _, rest = member.name.partition("/")
        digest = rest.replace("/", "")
        if table == "objects":
            staged[digest] = staging / digest
            _copy(body, staged[digest], member.size)
        else:
            records.append(_record(source, digest, body.read()))
    if members is None:
        _refuse(source, "it is empty")
    if members:
        _refuse(source, f"{next(iter(members))} is missing in it")
    return staged, records


def _index(source: Path, body: bytes) -> dict[str, int]:
    try:
        value = json.loads(body)
        version, members = value["version"], value["members"]
    except (ValueError, TypeError, KeyError, RecursionError):
        _refuse(source, f"{INDEX} in it cannot be read")
    if version != _VERSION:
        _refuse(source, f"another version of edgepipe wrote it (format {version!r})")
    for name, size in members.items() if isinstance(members, dict) else [("", 0)]:
        table, _, rest = name.partition("/")
        digest = rest.replace("/", "")
        named = table in {"objects", "records"} and is_digest(digest)
        if not named or name != _name(table, digest):
            _refuse(source, f"{name[:80]!r} in it names no object and no record")
        if not isinstance(size, int) or size < 0:
            _refuse(source, f"the size of {name} is {size!r}")
    return dict(members)


def _check_space(source: Path, staging: Path, size: int) -> None:
    space = os.statvfs(staging)
    if size > space.f_bavail * space.f_frsize:
        hint = f"make room on the file system of {staging.parent.parent.parent}"
        raise StoreError(f"{source} needs {size} bytes, more than the cache has room for", hint)


def _copy(body: IO[bytes], target: Path, size: int) -> None:
    with target.open("xb") as file:
        while size > 0 and (part := body.read(min(size, 1 << 20))):
            file.write(part)
            size -= len(part)


def _record(source: Path, key: str, body: bytes) -> Record:
    try:
        record = unpack_record(body)
    except ValueError as error:
        _refuse(source, f"the record {key[:12]} in it is damaged: {error}")
    if record is None:
        _refuse(source, f"another version of edgepipe wrote the record {key[:12]} in it")
    if record.key != key:
        _refuse(source, f"the record {key[:12]} in it bears another key")
    return record


def _refuse(source: Path, why: str) -> NoReturn:
    hint = "nothing of it was used; write it again: edgepipe cache export FILE"
    raise StoreError(f"{source} cannot be imported: {why}", hint)
