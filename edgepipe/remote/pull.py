"""From the remote into a store: nothing gets in that was not checked on its way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from edgepipe.digest import digest_bytes, digest_file, hasher
from edgepipe.errors import EdgepipeError
from edgepipe.remote.asking import Threads
from edgepipe.remote.link import Link
from edgepipe.remote.transport import (
    LocalError,
    RejectedError,
    Transport,
    UnavailableError,
    path_of,
)
from edgepipe.remote.wire import TREE_LIMIT, OtherFormatError, decode_tree
from edgepipe.store import Record, Store, Tree
from edgepipe.store.valid import is_digest

Over = Callable[[str], None]

_AT_ONCE = 16
_TAGS = ("file", "tree")
"""What an object that explains a key may be."""


class Puller:
    """Fetches records and what they name."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.threads = Threads(_AT_ONCE, "edgepipe-pull")
        self._known: dict[str, Record] = {}

    def records(self, keys: Iterable[str]) -> dict[str, Record]:
        """The remote's records of keys, as far as it has any; their objects stay there."""
        asked = [key for key in dict.fromkeys(keys) if is_digest(key) and key not in self._known]
        for key, future in self.threads.each(self._record, asked):
            record = future.result()
            if record is not None:
                self._known[key] = record
        return {key: self._known[key] for key in keys if key in self._known}

    def fetch(
        self, keys: Iterable[str], store: Store, over: Over = lambda key: None
    ) -> dict[str, Record]:
        """Bring results into the store; gives back those that are there now, and whole.

        Args:
            keys: of the results.
            store: used by this thread alone until the end.
            over: told of each as soon as it is there, or is known not to come; the small before
                the large.
        """
        found: dict[str, Record] = {}
        wanted = self.records(keys)
        for key in keys:
            if key not in wanted:
                over(key)
        try:
            # Again, if the store lost or doubts an object that was there when it was looked for.
            for _ in range(2):
                missing = {key: record for key, record in wanted.items() if key not in found}
                if not missing:
                    break
                tried = _Fetch(self, store, over).run(missing)
                found |= {key: record for key, record in tried.items() if record is not None}
                wanted = {key: record for key, record in wanted.items() if key in tried}
        except (EdgepipeError, OSError) as error:
            reason = error.problems[0].message if isinstance(error, EdgepipeError) else str(error)
            self.link.complaints.say("store", f"what the remote has could not be kept: {reason}")
        return found

    def _record(self, key: str) -> Record | None:
        try:
            return self.link.record(key, self.link.read)
        except (UnavailableError, OtherFormatError):
            return None


class _Fetch:
    """One batch: all trees at once, then all files at once, each only once."""

    def __init__(self, puller: Puller, store: Store, over: Over) -> None:
        self.over = over
        self.link = puller.link
        self.threads = puller.threads
        self.store = store
        self.staging = Path()

    def run(self, records: Mapping[str, Record]) -> dict[str, Record | None]:
        """The records by key whose objects all came; None where the store does not agree."""
        self.staging = self.store.staging()
        try:
            return self._run(records)
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)

    def _run(self, records: Mapping[str, Record]) -> dict[str, Record | None]:
        digests = dict.fromkeys(o.tree for r in records.values() for o in r.outputs.values())
        trees: dict[str, Tree] = {}
        for digest, arrived in self.threads.each(self._tree, digests):
            if (tree := arrived.result()) is not None:
                trees[digest] = tree
        outputs_of = {k: {o.tree for o in r.outputs.values()} for k, r in records.items()}
        # Nothing is fetched for the others: nobody would wait until it came.
        usable = [key for key, outputs in outputs_of.items() if outputs <= trees.keys()]
        for key in records.keys() - set(usable):
            self._useless(key, outputs_of[key])
        # Two trees may say different sizes of one file: its bytes tell which of them lies.
        sizes: dict[str, int] = {}
        for digest in dict.fromkeys(d for key in usable for d in outputs_of[key]):
            for file in trees[digest].files:
                sizes[file.digest] = max(file.size, sizes.get(file.digest, 0))
        pairs = self.threads.each(lambda pair: self._file(*pair), sizes.items())
        files_there = {digest: future for (digest, _), future in pairs}
        notes = dict.fromkeys(d for key in usable for d in records[key].manifests.values())
        notes_there = dict(self.threads.each(self._note, notes))
        done: dict[str, Record | None] = {}

        def size(key: str) -> int:
            return sum(trees[tree].size for tree in outputs_of[key])

        for key in sorted(usable, key=size):
            record, outputs = records[key], outputs_of[key]
            named = {file.digest for tree in outputs for file in trees[tree].files}
            there = {digest: files_there[digest].result() for digest in named}
            if None in there.values():
                self._useless(key, named)
                continue
            lying = {d for d in outputs if any(there[f.digest] != f.size for f in trees[d].files)}
            for digest in lying:
                self._refused(digest, RejectedError("a file of it has another size"))
            if lying:
                self._useless(key, lying)
                continue
            explained = {d for d in record.manifests.values() if notes_there[d].result()}
            done[key] = self._publish(record, [*named, *outputs, *explained])
            if done[key] is not None:
                self.over(key)
        # The folder that they are written into goes.
        for note in notes_there.values():
            note.result()
        return done

    def _useless(self, key: str, digests: set[str]) -> None:
        """Its record will not be used; have it replaced if its objects are to blame."""
        if digests & self.link.bad_objects:
            self.link.bad_records.add(key)
        self.over(key)

    def _publish(self, record: Record, digests: Iterable[str]) -> Record | None:
        with self.store.using():
            for digest in digests:
                if (path := self.staging / digest).exists():
                    self.store.adopt(path, digest)
            self.store.put_record(record, "" if self.link.signer else self.link.shown)
        self.link.traffic.add(records_down=1)
        return self.store.record(record.key)

    def _tree(self, digest: str) -> Tree | None:
        # The store itself is for one thread; its files may be read by all.
        with suppress(OSError, RejectedError):
            return decode_tree(self.store.object_path(digest).read_bytes(), digest)
        body = self._small(digest)
        if body is None:
            return None
        try:
            tree = decode_tree(body, digest)
        except RejectedError as error:
            self._refused(digest, error)
            return None
        self._keep(digest, body)
        return tree

    def _note(self, digest: str) -> bool:
        """An object that explains a key: without it, less can be explained, and nothing is wrong."""
        if self.store.object_path(digest).exists():
            return True
        body = self._small(digest, needed=False)
        if body is None:
            return False
        if not any(digest_bytes(tag, body) == digest for tag in _TAGS):
            self._refused(digest, RejectedError("it is not what its digest says"))
            return False
        self._keep(digest, body)
        return True

    def _small(self, digest: str, *, needed: bool = True) -> bytes | None:
        data = bytearray()

        def request(transport: Transport) -> bool:
            data.clear()
            return transport.get(path_of("objects", digest), data.extend, TREE_LIMIT)

        return bytes(data) if self._got(digest, request, needed=needed) else None

    def _keep(self, digest: str, body: bytes) -> None:
        (self.staging / digest).write_bytes(body)
        self.link.traffic.add(objects_down=1, bytes_down=len(body))

    def _file(self, digest: str, most: int) -> int | None:
        """The size of a file that is here now, and right; None if it is not to be had."""
        here = self.store.object_path(digest)
        # gc may remove it at any moment.
        with suppress(OSError):
            if (size := here.stat().st_size) <= most and digest_file(here) == digest:
                return size
        path = self.staging / digest
        self.link.flow.add(expected=most)
        size = 0

        def request(transport: Transport) -> bool:
            nonlocal size
            hashed = hasher("file")
            with self._open(path) as target:

                def sink(piece: bytes) -> None:
                    hashed.update(piece)
                    self.link.flow.add(received=len(piece))
                    try:
                        target.write(piece)
                    except OSError as error:
                        raise LocalError((error.strerror or str(error)).lower()) from error

                if not transport.get(path_of("objects", digest), sink, most):
                    return False
                size = target.tell()
            if hashed.hexdigest() != digest:
                wrong = f"it has {size} bytes where {most} are right"
                raise RejectedError(wrong if size != most else "it is not what its digest says")
            return True

        if self._got(digest, request):
            self.link.traffic.add(objects_down=1, bytes_down=size)
            return size
        path.unlink(missing_ok=True)
        return None

    def _open(self, path: Path) -> BinaryIO:
        try:
            return path.open("wb")
        except OSError as error:
            raise LocalError((error.strerror or str(error)).lower()) from error

    def _got(
        self, digest: str, request: Callable[[Transport], bool], *, needed: bool = True
    ) -> bool:
        try:
            if self.link.read(request):
                return True
        except RejectedError as error:
            self._refused(digest, error)
            return False
        except UnavailableError:
            # What is wrong with the remote is said once for all.
            return False
        except LocalError as error:
            text = f"what the remote has could not be kept: {error}"
            self.link.complaints.say("store", text)
            return False
        if not needed:
            return False
        self.link.bad_objects.add(digest)
        text = f"the remote {self.link.shown} has a record but not its object {digest[:12]}"
        self.link.complaints.say("missing", text)
        return False

    def _refused(self, digest: str, error: RejectedError) -> None:
        self.link.bad_objects.add(digest)
        text = f"the object {digest[:12]} on the remote {self.link.shown} was refused: {error}"
        self.link.complaints.say(f"object: {error}", text)
