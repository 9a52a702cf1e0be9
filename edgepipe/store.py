"""Objects and records on disk: digest → bytes, key → what a node made.

Layout below the root::

    objects/ab/cdef…   a file's bytes, or a tree: the JSON list of a folder's files
    records/ab/cdef…   the record of a key
    tmp/               staging: what is here belongs to a process that runs, or to nobody
    scratch/KEY/       what a killed node left to go on from

Everything is written beside its place and renamed into it; a record is written after all objects
that it names are on disk.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edgepipe.digest import canonical, digest_bytes, digest_file
from edgepipe.errors import StoreError

_READ_ONLY = 0o444


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
    """Name → digest of an object that explains a part of the key."""


class Store:
    """A content-addressed store in a folder, made on first use."""

    def __init__(self, root: Path, base: Store | None = None) -> None:
        self.root = root
        self.base = base

    def _path(self, table: str, digest: str) -> Path:
        return self.root / table / digest[:2] / digest[2:]

    def staging(self) -> Path:
        """A new empty folder on the store's file system. Raises StoreError where it cannot be."""
        folder = self.root / "tmp"
        with explained(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=folder))

    def scratch(self, key: str) -> Path:
        """The folder that survives a kill of the node with this key."""
        path = self.root / "scratch" / key
        with explained(self.root):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def put_tree(self, folder: Path) -> Tree:
        """Take a staged folder's files over: they are moved, never copied.

        Raises:
            StoreError: a link or a special file is among them, or the disk is full.
        """
        files = []
        with explained(self.root):
            for path in _files(folder):
                size = path.stat().st_size
                digest = digest_file(path)
                target = self._path("objects", digest)
                # One that is there may be damaged.
                if _size(target) == size and digest_file(target) == digest:
                    path.unlink()
                else:
                    self._publish(path, target)
                files.append(File(path.relative_to(folder).as_posix(), digest, size))
            body = canonical([asdict(file) for file in files])
            digest = digest_bytes("tree", body)
            self._write(self._path("objects", digest), body)
        return Tree(digest, tuple(files))

    def tree(self, digest: str) -> Tree:
        """Read a tree. Raises StoreError where it is missing or is not what its digest says."""
        path = self._path("objects", digest)
        try:
            body = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"the object {digest[:12]} cannot be read: {reason}"
            raise StoreError(message, "run the pipeline: what it held is made again") from error
        if digest_bytes("tree", body) != digest:
            hint = f"remove {path}: what it held is made again"
            raise StoreError(f"the object {digest[:12]} is damaged", hint)
        return Tree(digest, tuple(File(**item) for item in json.loads(body)))

    def has(self, digest: str) -> bool:
        """Whether a tree and all its files are there, each of the size that it had."""
        try:
            files = self.tree(digest).files
        except StoreError:
            return False
        return all(_size(self._path("objects", file.digest)) == file.size for file in files)

    def link(self, digest: str, folder: Path) -> None:
        """Lay a tree out for reading in a new folder: hard links, or copies where there are none."""
        self._lay_out(digest, folder, _link_or_copy)

    def copy(self, digest: str, folder: Path) -> None:
        """Lay a tree out for the user: copies, which cannot hurt the store."""
        self._lay_out(digest, folder, shutil.copyfile)

    def _lay_out(self, digest: str, folder: Path, place: Any) -> None:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for file in self.tree(digest).files:
                relative = PurePosixPath(file.path)
                if relative.is_absolute() or ".." in relative.parts:
                    raise StoreError(f"the object {digest[:12]} names a file outside: {file.path}")
                target = folder / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                place(self._path("objects", file.digest), target)

    def record(self, key: str, *, whole: bool = True) -> Record | None:
        """The record of a key; None if there is none, or an output of it is not ``whole``."""
        try:
            value = json.loads(self._path("records", key).read_bytes())
            outputs = {port: Output(**item) for port, item in value.pop("outputs").items()}
            record = Record(**value, outputs=outputs)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            # A damaged record is no record: the node runs again and writes a new one.
            return None
        if record.key != key:
            return None
        if whole and not all(self.has(output.tree) for output in outputs.values()):
            return None
        return record

    def put_record(self, record: Record) -> None:
        """Publish a record; its objects must be in the store already."""
        with explained(self.root):
            self._write(self._path("records", record.key), json.dumps(asdict(record)).encode())

    def object_path(self, digest: str) -> Path:
        """Where an object is, or would be."""
        return self._path("objects", digest)

    def adopt(self, path: Path, digest: str) -> None:
        """Move a file in as an object. Raises StoreError if it is not what the digest says."""
        with explained(self.root):
            body_digests = (digest_file(path), digest_bytes("tree", path.read_bytes()))
            if digest not in body_digests:
                raise StoreError(f"{path.name} is not the object {digest[:12]}")
            self._publish(path, self._path("objects", digest))

    def keys(self) -> Iterator[str]:
        """The keys of all records."""
        for folder in sorted((self.root / "records").glob("??")):
            for path in sorted(folder.iterdir()):
                yield folder.name + path.name

    def sync(self) -> None:
        """Make durable what was published; each publication did that already."""

    def using(self) -> contextlib.AbstractContextManager[None]:
        """Held while objects and records are published, so that gc waits."""
        return contextlib.nullcontext()

    def metrics(self, tree: str) -> Any:
        """The JSON of a Metrics artifact in the store."""
        for file in self.tree(tree).files:
            if file.path == "metrics.json":
                path = self._path("objects", file.digest)
                body = path.read_bytes()
                if digest_bytes("file", body) != file.digest:
                    hint = f"remove {path}: what it held is made again"
                    raise StoreError(f"the object {file.digest[:12]} is damaged", hint)
                return json.loads(body)
        raise StoreError(f"the object {tree[:12]} holds no metrics")

    def _write(self, target: Path, body: bytes) -> None:
        if _size(target) == len(body) and target.read_bytes() == body:
            return
        handle, name = tempfile.mkstemp(dir=self._tmp())
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
            self._publish(Path(name), target)
        finally:
            Path(name).unlink(missing_ok=True)

    def _publish(self, source: Path, target: Path) -> None:
        """Move a finished file to its name, durably and read-only."""
        source.chmod(_READ_ONLY)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    def _tmp(self) -> Path:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _files(folder: Path) -> Iterator[Path]:
    """All regular files below a folder, in the order of their paths."""
    for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            yield path
        elif not stat.S_ISDIR(mode):
            hint = "an artifact is made of regular files: write a copy instead of a link"
            raise StoreError(f"{path.name} is no regular file", hint)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn an OSError into an error that says what to do."""
    try:
        yield
    except OSError as error:
        hint = ""
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = (
                f"make room on the file system of {place}, then run again: finished nodes are kept"
            )
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            hint = f"make {place} writable, or set EDGEPIPE_CACHE to another folder"
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"{error.filename or place}: {reason}", hint) from error
