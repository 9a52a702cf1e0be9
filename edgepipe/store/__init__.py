"""Objects and records on disk: digest → bytes, key → what a node made.

Layout below the root::

    objects/ab/cdef…   a file's bytes, or a tree: the JSON list of a folder's files
    records/ab/cdef…   the record of a key
    tmp/               staging: a locked folder for each process at work; others are litter
    scratch/KEY/       what a killed node left to go on from
    locks/KEY          locked by the process that computes KEY
    roots/             which records runs and pins hold, so that gc keeps them
    quarantine/        objects that were found damaged, and records of them, for a person to look at
    verified           which objects' bytes were found right, at which stat

Everything is written beside its place and renamed into it; a record is written after all objects
that it names. `Store.sync` makes what was published durable; until then a power loss may take it,
and what it left half done is found by its digest.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.digest import digest_bytes
from edgepipe.errors import StoreError
from edgepipe.store import files
from edgepipe.store.files import explained
from edgepipe.store.handout import Handout
from edgepipe.store.layout import lay_out
from edgepipe.store.locks import Gate, Lock, NoLock
from edgepipe.store.model import (
    Damage,
    File,
    Output,
    Record,
    Tree,
    pack_tree,
    tree_digest,
    unpack_tree,
)
from edgepipe.store.objects import Objects
from edgepipe.store.place import GATE, check_place
from edgepipe.store.records import Records
from edgepipe.store.session import TMP, Session
from edgepipe.store.staging import Staging
from edgepipe.store.valid import is_digest

if TYPE_CHECKING:
    from edgepipe.store.roots import RunRoot

__all__ = ["Damage", "File", "Lock", "Output", "Record", "Store", "Tree", "explained"]


class Store:
    """A content-addressed store in a folder, made on first use.

    Args:
        root: the folder.
        base: another store that is read where this one has nothing: a run whose cache is
            read-only keeps its new results in a store of its own over it.

    Raises:
        ConfigError: something else is in its place, or in it.
    """

    def __init__(self, root: Path, base: Store | None = None) -> None:
        check_place(root)
        self.root = root
        self.base = base
        self.damages: list[Damage] = []
        self.on_damage: Callable[[Damage], None] = self.damages.append
        self._root = os.fspath(root)
        self._session = Session(f"{self._root}/{TMP}")
        self.objects = Objects(self._root, self._session, self._tell)
        self.handout = Handout(self.objects)
        self._staging = Staging(self._session, self.handout.unlink)
        self.records = Records(self._root, self._session, self._tell)
        self._gate = Gate(f"{self._root}/{GATE}")
        self._trees: dict[str, Tree] = {}

    def _tell(self, damage: Damage) -> None:
        self.on_damage(damage)

    @property
    def writable(self) -> bool:
        """Whether something can be put into the store."""
        place = self._root
        if os.access(place, os.W_OK | os.X_OK):
            return True
        while not os.path.exists(place) and place != "/":
            place = os.path.dirname(place)
        # Asks the kernel: root may not write to a read-only file system either.
        return os.access(place, os.W_OK | os.X_OK)

    @property
    def staging_root(self) -> str:
        """Where each process has its folder of what is not finished."""
        return self._session.tmp

    def staging(self, *names: str) -> Path:
        """A new folder on the store's file system, empty but for empty folders of these names.

        Raises:
            StoreError: it cannot be made.
        """
        with explained(self.root):
            return Path(self._staging.take(names))

    def discard(self, folder: Path) -> None:
        """Take a staging folder back; what `link` laid out there stays known as right."""
        self._staging.give_back(os.fspath(folder))

    def scratch(self, key: str) -> Path:
        """Where the folder is that survives a kill of the node with this key."""
        return self.root / "scratch" / key

    def put_tree(self, folder: Path) -> Tree:
        """Take a staged folder's files over: they are moved, never copied.

        Raises:
            StoreError: a link or a special file is among them, a process still writes to one,
                or the disk is full.
        """
        with explained(self.root):
            found = []
            for name, path in files.walk(os.fspath(folder)):
                found.append(File(name, *self.objects.put_file(path, name)))
            body = pack_tree(found)
            digest = tree_digest(body)
            self.objects.put_body(digest, body, tree=True)
        self._trees[digest] = tree = Tree(digest, tuple(found))
        return tree

    def adopt(self, path: Path, digest: str) -> None:
        """Move a file of the store's file system in, as the object that it should be.

        Raises:
            StoreError: its bytes are others (it stays where it is), or the disk is full.
        """
        self._place("objects", digest)
        with explained(self.root):
            self.objects.adopt(os.fspath(path), digest)

    def tree(self, digest: str) -> Tree:
        """Read a tree. Raises StoreError where it is missing or is not what its digest says."""
        path = self._place("objects", digest)
        known = self._trees.get(digest)
        with contextlib.suppress(OSError):
            if known and self.objects.verified.matches(digest, os.stat(path)):
                return known
        try:
            body = self.objects.read(digest, tree=True)
        except StoreError:
            if self.base is None:
                raise
            return self.base.tree(digest)
        try:
            tree = Tree(digest, unpack_tree(body))
        except ValueError as error:
            raise StoreError(f"the object {digest[:12]} is no tree: {error}") from error
        self._trees[digest] = tree
        return tree

    def has(self, digest: str) -> bool:
        """Whether a tree and all its files are there with the right bytes."""
        with explained(self.root):
            try:
                found = self.tree(digest).files
            except StoreError:
                return False
            return all(self._holder(file) is not None for file in found)

    def _holder(self, file: File) -> Store | None:
        """This store or the one below it, whichever has the file with the right bytes."""
        if self.objects.sound(file.digest, file.size):
            return self
        return None if self.base is None else self.base._holder(file)

    def link(self, digest: str, folder: Path) -> None:
        """Lay a tree out for reading in a new folder: hard links, or copies where there are none.

        Raises:
            StoreError: an object is missing or damaged, or the disk is full.
        """
        self._lay_out(digest, folder, links=True)

    def copy(self, digest: str, folder: Path) -> None:
        """Lay a tree out for the user: copies, which cannot hurt the store. Raises as `link`."""
        self._lay_out(digest, folder, links=False)

    def _lay_out(self, digest: str, folder: Path, *, links: bool) -> None:
        tree = self.tree(digest)

        def place(file: File, target: str) -> None:
            holder = self if self.base is None else self._holder(file) or self
            how = holder.handout.copy
            if links:
                how = holder.handout.link if holder is self else holder.handout.stand_in
            how(file.digest, file.size, target)

        with explained(folder):
            lay_out(tree, os.fspath(folder), place)

    def changed(self, digest: str, folder: Path) -> list[str]:
        """Which files of a tree that `link` laid out were written to since, or are gone."""
        return [
            file.path
            for file in self.tree(digest).files
            if not self.handout.untouched(file.digest, f"{os.fspath(folder)}/{file.path}")
        ]

    def object_path(self, digest: str) -> Path:
        """Where an object is, if it is there. Raises StoreError where it is no digest."""
        return Path(self._place("objects", digest))

    def record_path(self, key: str) -> Path:
        """Where a key's record is, if it is there. Raises StoreError where it is no digest."""
        return Path(self._place("records", key))

    def _place(self, table: str, digest: str) -> str:
        if not is_digest(digest):
            raise StoreError(f"'{digest[:80]}' is no digest")
        return f"{self._root}/{table}/{digest[:2]}/{digest[2:]}"

    def record(self, key: str, *, whole: bool = True) -> Record | None:
        """The record of a key; None if there is none, or an output of it is not ``whole``.

        What is damaged is put away, and told to `on_damage`.
        """
        if not is_digest(key):
            return None
        with explained(self.root):
            record = self.records.get(key)
            if record and whole and not all(self.has(o.tree) for o in record.outputs.values()):
                record = None
        if record is None and self.base is not None:
            return self.base.record(key, whole=whole)
        return record

    def holds(self, record: Record) -> bool:
        """Whether a record that was read before is still there, and whole."""
        if not self.has_record(record.key):
            return self.base is not None and self.base.holds(record)
        return all(self.has(output.tree) for output in record.outputs.values())

    def put_record(self, record: Record, origin: str = "") -> None:
        """Publish a record; its objects must be in the store already.

        Args:
            record: the record.
            origin: where it came from, if nothing but that place vouches for it; see `origin`.

        Raises:
            StoreError: the disk is full, or a name or number in it cannot be kept.
        """
        with explained(self.root):
            self.records.put(record, origin)
        self.objects.published = True

    def origin(self, key: str) -> str:
        """Where a record came from that was neither made here nor bore a signature that was
        verified here; else empty. It must not be signed here.
        """
        with explained(self.root):
            if self.base is not None and not self.has_record(key):
                return self.base.origin(key)
            return self.records.origin(key)

    def has_record(self, key: str) -> bool:
        """Whether a file is there for a key's record; it is not read."""
        return is_digest(key) and os.path.exists(self._place("records", key))

    def put_bytes(self, body: bytes) -> str:
        """Keep bytes as an object; its digest. Raises StoreError where the disk is full."""
        digest = digest_bytes("file", body)
        with explained(self.root):
            self.objects.put_body(digest, body)
        return digest

    def get_json(self, digest: str) -> Any:
        """Plain data that is an object. Raises StoreError where it is missing, damaged or no JSON."""
        self._place("objects", digest)
        try:
            return json.loads(self.objects.read(digest))
        except (ValueError, RecursionError) as error:
            raise StoreError(f"the object {digest[:12]} is no JSON") from error
        except StoreError:
            if self.base is None:
                raise
            return self.base.get_json(digest)

    def lock(self, key: str) -> Lock | None:
        """The right to compute a key; None while another live process has it."""
        if not self.writable:
            return NoLock()
        with explained(self.root):
            return Lock.take(f"{self._root}/locks/{key}")

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Keep gc away for a moment: while a record is looked up or published, and its key noted
        as a root. Nothing that takes long belongs in it.
        """
        with contextlib.ExitStack() as stack:
            with explained(self.root):
                if not self._gate.is_open and self.writable:
                    os.makedirs(self._root, exist_ok=True)
                stack.enter_context(self._gate.shared())
            yield

    @contextlib.contextmanager
    def clearing(self) -> Iterator[None]:
        """Keep everybody else away while something is removed."""
        with contextlib.ExitStack() as stack:
            with explained(self.root):
                os.makedirs(self._root, exist_ok=True)
                stack.enter_context(self._gate.exclusive())
            yield

    def root_of_run(self, run_id: str, project: Path, pipeline: str) -> RunRoot:
        """Where a run notes the keys that it uses, so that gc keeps them."""
        from edgepipe.store.roots import RunRoot

        with self.using(), explained(self.root):
            return RunRoot.start(self, run_id, project, pipeline)

    def sync(self, *, compact: bool = False) -> None:
        """Make durable what was published, and keep what was found right about objects.

        Args:
            compact: also write the list of verified objects anew.

        Raises:
            StoreError: the disk is full or broken.
        """
        verified = self.objects.verified
        todo = self.objects.published or verified.pending or verified.damaged or compact
        if not todo or not self.writable:
            return
        new, self.objects.published = verified.take(), False
        with explained(self.root):
            files.sync(self._root)
            verified.save(new, self._session.path(), compact=compact)

    def learned(self) -> dict[str, str]:
        """What was found right about objects since this was asked last, for `learn`."""
        return self.objects.verified.take()

    def learn(self, found: dict[str, str]) -> None:
        """Take over what another store over the same folder published and found right."""
        self.objects.verified.take_over(found)
        self.objects.published = True

    def close(self) -> None:
        """Remove what is left in the staging of this process. The store can be used again."""
        self._staging.close()
        self._session.close()
        self._gate.close()

    def clean(self) -> None:
        """Remove what dead processes left unfinished; called at the start of a run."""
        if self.writable:
            from edgepipe.store.litter import clean

            clean(self)
