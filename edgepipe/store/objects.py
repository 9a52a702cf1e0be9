"""Objects: digest → bytes. None is handed out unless its bytes are known to be right."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable

from edgepipe.digest import LARGE, digest_bytes, digest_file
from edgepipe.errors import StoreError
from edgepipe.store import files
from edgepipe.store.files import MTIME
from edgepipe.store.model import Damage, tree_digest
from edgepipe.store.session import Session
from edgepipe.store.verified import Verified

ATTEMPTS = 3
"""How often what others may do at the same time is tried again."""
_UNREADABLE = {errno.EIO, errno.EISDIR, errno.ENXIO}
"""What reading fails with where the disk is bad, or a folder or a socket is in an object's place."""
_MADE_AGAIN = "run the pipeline again: what it held is made again"


class Objects:
    """The table of objects of one store."""

    def __init__(self, root: str, session: Session, tell: Callable[[Damage], None]) -> None:
        self.table = f"{root}/objects"
        self.quarantine_folder = f"{root}/quarantine"
        self.session = session
        self.verified = Verified(f"{root}/verified", tell)
        self.published = False
        """Whether something is there that no sync has made durable."""
        self._tell = tell

    def path(self, digest: str) -> str:
        """Where an object is, if it is there."""
        return f"{self.table}/{digest[:2]}/{digest[2:]}"

    def sound(self, digest: str, size: int | None = None, *, tree: bool = False) -> bool:
        """Whether an object is there and its bytes are right; a damaged one is put away.

        Raises:
            OSError: it cannot be read, though it is there.
        """
        path = self.path(digest)
        for _ in range(ATTEMPTS):
            try:
                info = os.stat(path)
            except FileNotFoundError:
                return False
            # Who says another size may lie: its bytes decide whether it is damaged.
            as_said = size is None or info.st_size == size
            if self.verified.matches(digest, info):
                return as_said
            with contextlib.suppress(FileNotFoundError):
                if (found := self._hashed(path, tree)) is not None:
                    actual, info = found
                    if actual == digest:
                        self.verified.add(digest, info)
                        return as_said
                    what = f"the object {digest[:12]} has {info.st_size} bytes instead of {size}"
                    self.put_away(digest, "" if as_said else what)
                    return False
        return False

    def right(self, digest: str, *, tree: bool = False) -> bool:
        """Whether an object's bytes are right, read anew; it stays where it is. Raises OSError."""
        path = self.path(digest)
        for is_tree in (tree, not tree):
            for _ in range(ATTEMPTS):
                try:
                    found = self._hashed(path, is_tree)
                except FileNotFoundError:
                    return False
                if found is not None:
                    break
            if found is not None and found[0] == digest:
                self.verified.add(digest, found[1])
                return True
        self.verified.forget(digest)
        return False

    def _hashed(self, path: str, tree: bool) -> tuple[str, os.stat_result] | None:
        """Digest and stat of a file that nobody wrote to meanwhile; None if somebody did."""
        before = os.stat(path)
        if before.st_mtime_ns != MTIME:
            with contextlib.suppress(PermissionError, OSError):
                os.utime(path, ns=(MTIME, MTIME))
                before = os.stat(path)
        try:
            digest = tree_digest(files.read(path)) if tree else _digest(path, before.st_size)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            digest = ""
        after = os.stat(path)
        same = (after.st_ino, after.st_size, after.st_mtime_ns) == (
            before.st_ino,
            before.st_size,
            before.st_mtime_ns,
        )
        return (digest, after) if same else None

    def put_away(self, digest: str, what: str = "") -> None:
        """Move a damaged object out of the way, and say so."""
        what = what or f"the object {digest[:12]} holds other bytes than it did"
        number = itertools.count(1)
        place = f"{self.quarantine_folder}/{digest}"
        while os.path.lexists(place):
            place = f"{self.quarantine_folder}/{digest}.{next(number)}"
        self.verified.forget(digest)
        try:
            files.into_place(self.path(digest), place)
        except FileNotFoundError:
            # Another process was faster.
            return
        except OSError:
            place = ""
        self._tell(Damage(digest, what, place))

    def drop(self, digest: str) -> None:
        """Remove an object; called within `Store.clearing`. Raises OSError."""
        files.remove(self.path(digest))
        self.verified.forget(digest)

    def put_file(self, path: str, name: str) -> tuple[str, int]:
        """Take a file over: digest and size.

        Args:
            path: the file, on the store's file system; it is moved.
            name: what an error calls it.

        Raises:
            OSError: the disk is full.
            StoreError: a process keeps writing to it.
        """
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            info = os.fstat(handle)
            if info.st_nlink > 1:
                # Whoever holds the other name could write to it later.
                os.close(handle)
                handle = self._own(path, info.st_size)
            digest, size = self._settled(handle, path, name)
            self._publish(path, handle, digest, size)
        finally:
            os.close(handle)
        return digest, size

    def adopt(self, path: str, digest: str) -> None:
        """Take over a file that should be an object. Raises as `put_file`, and StoreError where
        its bytes are others.
        """
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            actual, size = self._settled(handle, path, path)
            tree = actual != digest
            if tree and tree_digest(files.read(path)) != digest:
                hint = "it was damaged on its way, or forged: it was not used"
                raise StoreError(f"what should be the object {digest[:12]} is another", hint)
            self._publish(path, handle, digest, size, tree=tree)
        finally:
            os.close(handle)

    def _publish(
        self, path: str, handle: int, digest: str, size: int, *, tree: bool = False
    ) -> None:
        """Move a file that was just hashed to its place, or drop it where that is taken."""
        if self.sound(digest, size, tree=tree):
            os.unlink(path)
        else:
            files.into_place(path, self.path(digest))
            self.published = True
            self.verified.add(digest, os.fstat(handle))

    def _own(self, path: str, size: int) -> int:
        """Replace a file that has several names by a copy; the copy, open for reading."""
        copy = self.session.path()
        source = os.open(path, os.O_RDONLY)
        try:
            target = files.create(copy)
            try:
                files.copy_bytes(source, target, size)
            finally:
                os.close(target)
        finally:
            os.close(source)
        os.rename(copy, path)
        return os.open(path, os.O_RDONLY)

    def _settled(self, handle: int, path: str, name: str) -> tuple[str, int]:
        for _ in range(ATTEMPTS):
            # First the stamp, then the hash: a write since then is seen by its time.
            os.utime(handle, ns=(MTIME, MTIME))
            os.fchmod(handle, files.READ_ONLY)
            size = os.fstat(handle).st_size
            if size < LARGE:
                os.lseek(handle, 0, os.SEEK_SET)
                body = os.read(handle, size + 1)
                while len(body) < size and (more := os.read(handle, size)):
                    body += more
                digest, size = digest_bytes("file", body), len(body)
            else:
                digest = _digest(path, size)
            after = os.fstat(handle)
            if (after.st_size, after.st_mtime_ns) == (size, MTIME):
                return digest, size
        raise StoreError(
            f"{name} is still being written to",
            "a process that the stage started goes on: wait for it in run()",
        )

    def put_body(self, digest: str, body: bytes, *, tree: bool = False) -> None:
        """Write an object whose bytes are in memory. Raises OSError."""
        if self.sound(digest, len(body), tree=tree):
            return
        path = self.session.path()
        files.write_new(path, body)
        os.utime(path, ns=(MTIME, MTIME))
        target = self.path(digest)
        try:
            files.into_place(path, target)
        except BaseException:
            os.unlink(path)
            raise
        self.published = True
        self.verified.add(digest, os.stat(target))

    def read(self, digest: str, *, tree: bool = False) -> bytes:
        """An object's bytes. Raises StoreError where it is missing or damaged."""
        path = self.path(digest)
        try:
            info = os.stat(path)
            body = files.read(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"the object {digest[:12]} cannot be read: {reason}"
            raise StoreError(message, _MADE_AGAIN) from error
        if (tree_digest(body) if tree else digest_bytes("file", body)) != digest:
            self.put_away(digest)
            raise StoreError(f"the object {digest[:12]} is damaged", _MADE_AGAIN)
        if info.st_mtime_ns == MTIME and not self.verified.matches(digest, info):
            self.verified.add(digest, info)
        return body


def _digest(path: str, size: int) -> str:
    if size < LARGE:
        return digest_bytes("file", files.read(path))
    from pathlib import Path

    return digest_file(Path(path))


def damaged(digest: str) -> StoreError:
    """What is raised where an object is not there, or not right."""
    return StoreError(f"the object {digest[:12]} is missing or damaged", _MADE_AGAIN)
