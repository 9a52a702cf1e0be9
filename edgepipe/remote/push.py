"""From a store to the remote: objects first, the record last, so that no reader sees half."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from edgepipe.digest import hasher
from edgepipe.remote.asking import Threads
from edgepipe.remote.link import Link
from edgepipe.remote.transport import LocalError, RejectedError, UnavailableError, Upload, path_of
from edgepipe.remote.wire import (
    RECORD_LIMIT,
    TREE_LIMIT,
    OtherFormatError,
    decode_tree,
    encode_record,
)
from edgepipe.store import Record, Store

_AT_ONCE = 8
_BATCH = 64
_HUSH_SECONDS = 60.0
"""How long a measurement waits for uploads to end that go on already."""

Outcome = Literal["uploaded", "there", "failed", "unsigned"]
"""``unsigned``: it came from elsewhere without a signature, and is not signed here."""


class Pusher:
    """Uploads results, now or in the background."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.threads = Threads(_AT_ONCE, "edgepipe-push")
        self._there: set[str] = set()
        """Objects that the remote has for sure."""
        self._queue: queue.SimpleQueue[tuple[Record, Store]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._waiting = 0
        self._left = 0
        self._running = False
        self._busy = 0
        """Uploads that go on."""
        self._hushed: float | None = None
        """Since when none may begin."""

    def offer(self, record: Record, store: Store) -> None:
        """Upload in the background; `flush` waits for it."""
        with self._changed:
            self._waiting += 1
            if not self._running:
                self._running = True
                threading.Thread(target=self._serve, name="edgepipe-offer", daemon=True).start()
        self._queue.put((record, store))

    def wait(self, timeout: float) -> int:
        """Wait at most ``timeout`` seconds; gives back how many results are still on their way."""
        self.resume()
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._waiting and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._waiting

    def flush(self, timeout: float) -> int:
        """The same; gives back how many results were not uploaded, failed ones too."""
        return self.wait(timeout) + self._left

    def hush(self) -> bool:
        """See `Remote.hush`."""
        with self._changed:
            if self._hushed is None:
                self._hushed = time.monotonic()
            return not self._busy or time.monotonic() - self._hushed > _HUSH_SECONDS

    def resume(self) -> None:
        """See `Remote.resume`."""
        with self._changed:
            self._hushed = None
            self._changed.notify_all()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until uploads may go on, and count as one."""
        with self._changed:
            while self._hushed is not None:
                self._changed.wait()
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1

    def push(self, records: Sequence[Record], store: Store) -> dict[str, Outcome]:
        """Upload now; what came of each key. Objects that are there are compared by size."""
        outcomes: dict[str, Outcome] = {}
        for start in range(0, len(records), _BATCH):
            outcomes |= self._batch(records[start : start + _BATCH], store, thorough=True)
        return outcomes

    def _serve(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            failed = len(batch)
            try:
                for store in {id(store): store for _, store in batch}.values():
                    records = [record for record, home in batch if home is store]
                    outcomes = self._batch(records, store, thorough=False)
                    failed -= sum(outcome != "failed" for outcome in outcomes.values())
            except Exception as error:
                # The thread has to live, or who waits for it would wait in vain.
                self.link.complaints.say("offer", f"results were not uploaded: {error}")
            with self._changed:
                self._waiting -= len(batch)
                self._left += failed
                self._changed.notify_all()

    def _batch(
        self, records: Sequence[Record], store: Store, *, thorough: bool
    ) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        todo: list[tuple[Record, bool]] = []
        objects: dict[str, list[tuple[str, str]]] = {}
        for record, future in self.threads.each(self._held, records):
            held = future.result()
            if isinstance(held, str):
                outcomes[record.key] = held
                continue
            if record.key in self.link.bad_records:
                # This session tried to fetch it, and it was of no use.
                held = None
            if held is not None and (not thorough or held.outputs != record.outputs):
                # Where a key was made twice and differently, the first that was published stays.
                outcomes[record.key] = "there"
                continue
            if held is None and self._is_foreign(record, store):
                outcomes[record.key] = "unsigned"
                continue
            try:
                objects[record.key] = list(_objects(record, store))
            except (OSError, RejectedError) as error:
                self._not_sent(f"the cache does not hold it whole: {error}")
                outcomes[record.key] = "failed"
                continue
            except ValueError as error:
                self._not_sent(str(error))
                outcomes[record.key] = "failed"
                continue
            todo.append((record, held is not None))
        distinct = dict.fromkeys(pair for pairs in objects.values() for pair in pairs)
        sent = {
            digest: future
            for (digest, _), future in self.threads.each(
                lambda pair: self._object(*pair, store), distinct
            )
        }
        whole = []
        for record, held_already in todo:
            if [digest for digest, _ in objects[record.key] if not sent[digest].result()]:
                outcomes[record.key] = "failed"
            elif held_already:
                outcomes[record.key] = "there"
            else:
                whole.append(record)
        for record, put in self.threads.each(self._record, whole):
            outcomes[record.key] = put.result()
        return outcomes

    def _held(self, record: Record) -> Record | Outcome | None:
        try:
            with self._turn():
                return self.link.record(record.key, self.link.write)
        except UnavailableError:
            return "failed"
        except OtherFormatError:
            return "there"

    def _object(self, digest: str, tag: str, store: Store) -> bool:
        if digest in self._there:
            return True
        with self._turn():
            return self._sent(digest, tag, store)

    def _sent(self, digest: str, tag: str, store: Store) -> bool:
        path, name = _place(digest, store), path_of("objects", digest)
        try:
            size = path.stat().st_size
            held = self.link.write(lambda transport: transport.size(name))
            doubted = digest in self.link.bad_objects
            if held != size or doubted:
                upload = Upload(size, lambda most: _checked(path, digest, tag, most))
                replace = held is not None
                if self.link.write(lambda t: t.put(name, upload, replace=replace)):
                    self.link.traffic.add(objects_up=1, bytes_up=size)
        except UnavailableError:
            return False
        except (LocalError, OSError) as error:
            self._not_sent(f"the object {digest[:12]}: {error}")
            return False
        self.link.bad_objects.discard(digest)
        self._there.add(digest)
        return True

    def _record(self, record: Record) -> Outcome:
        try:
            body = encode_record(record, self.link.signer)
            if len(body) > RECORD_LIMIT:
                raise ValueError(f"its record has more than {RECORD_LIMIT} bytes")
            upload = Upload(len(body), lambda most: iter([body]))
            replace = record.key in self.link.bad_records
            name = path_of("records", record.key)
            with self._turn():
                if not self.link.write(lambda t: t.put(name, upload, replace=replace)):
                    return "there"
        except UnavailableError:
            return "failed"
        except ValueError as error:
            self._not_sent(str(error))
            return "failed"
        self.link.bad_records.discard(record.key)
        self.link.traffic.add(records_up=1)
        return "uploaded"

    def _is_foreign(self, record: Record, store: Store) -> bool:
        """Whether signing a result would vouch for what nobody here made or verified."""
        if self.link.signer is None or not (origin := store.origin(record.key)):
            return False
        text = (
            f"a result came unsigned from {origin} and was not uploaded:"
            f" run it anew with --fresh to sign it (key {record.key[:12]})"
        )
        self.link.complaints.say(f"unsigned: {origin}", text)
        return True

    def _not_sent(self, reason: str) -> None:
        self.link.complaints.say("not sent", f"a result was not uploaded: {reason}")


def _objects(record: Record, store: Store) -> Iterator[tuple[str, str]]:
    """All objects of a record, with what they are; files before the tree that names them.

    Raises:
        OSError: a tree is not there.
        RejectedError: a tree is damaged.
        ValueError: a tree is larger than anybody would fetch.
    """
    for output in record.outputs.values():
        body = _place(output.tree, store).read_bytes()
        if len(body) > TREE_LIMIT:
            raise ValueError(f"the list of its files has more than {TREE_LIMIT} bytes")
        for file in decode_tree(body, output.tree).files:
            yield file.digest, "file"
        yield output.tree, "tree"
    for digest in record.manifests.values():
        # It explains the key and is no part of the result.
        place = _place(digest, store)
        if place.exists() and place.stat().st_size <= TREE_LIMIT:
            yield digest, "file"


def _place(digest: str, store: Store) -> Path:
    """Where an object is: in the store, or in one below it."""
    path = store.object_path(digest)
    return path if store.base is None or path.exists() else _place(digest, store.base)


def _checked(path: Path, digest: str, tag: str, most: int) -> Iterator[bytes]:
    """A local object's bytes; after the last they have to make the digest."""
    hashed = hasher(tag)
    try:
        with path.open("rb") as file:
            while piece := file.read(most):
                hashed.update(piece)
                yield piece
    except OSError as error:
        raise LocalError((error.strerror or str(error)).lower()) from error
    if hashed.hexdigest() != digest:
        raise LocalError("it is damaged here; edgepipe cache verify says more")
