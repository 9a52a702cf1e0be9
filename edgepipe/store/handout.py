"""Handing objects out: as other names of the same file to jobs, as copies to the user."""

from __future__ import annotations

import contextlib
import errno
import os

from edgepipe.digest import digest_bytes
from edgepipe.store import files
from edgepipe.store.files import MTIME
from edgepipe.store.objects import ATTEMPTS, Objects, damaged

_HASHED = 1 << 14
"""Bytes up to which hashing an object costs less than asking whether it is known as right."""


class Handout:
    """What leaves one store's table of objects, and whether it came back unharmed."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._linked: dict[int, str] = {}
        """Inode of a file that was linked → its digest."""

    def link(self, digest: str, size: int, target: str) -> None:
        """Give an object another name, for reading; a copy where there are no hard links.

        A copy bears the stamp of objects too, so that writing to it is noticed.

        Raises:
            OSError: the disk is full.
            StoreError: the object is missing or damaged.
        """
        self._need(digest, size)
        path = self._objects.path(digest)
        try:
            os.link(path, target)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP}:
                raise
            self.stand_in(digest, size, target)
            return
        info = os.stat(path)
        self._linked[info.st_ino] = digest
        self._objects.verified.relinked(digest, info)

    def stand_in(self, digest: str, size: int, target: str) -> None:
        """A read-only copy for a job, that bears the stamp of objects. Raises as `link` does."""
        self.copy(digest, size, target)
        os.chmod(target, files.READ_ONLY)
        os.utime(target, ns=(MTIME, MTIME))

    def untouched(self, digest: str, target: str) -> bool:
        """Whether nobody wrote to what `link` or `stand_in` made."""
        try:
            info = os.stat(target)
        except OSError:
            return False
        return info.st_mtime_ns == MTIME or self._objects.verified.unwritten(digest, info)

    def copy(self, digest: str, size: int, target: str) -> None:
        """Copy an object to a new file of the user's. Raises as `link` does."""
        if size <= _HASHED:
            self._copy_hashed(digest, size, target)
            return
        for _ in range(ATTEMPTS):
            source = self._open_sound(digest, size)
            try:
                info = os.fstat(source)
                handle = files.create(target)
                try:
                    files.copy_bytes(source, handle, size)
                finally:
                    os.close(handle)
                now = os.fstat(source)
                if (now.st_mtime_ns, now.st_size) == (info.st_mtime_ns, info.st_size):
                    return
            finally:
                os.close(source)
        raise damaged(digest)

    def _copy_hashed(self, digest: str, size: int, target: str) -> None:
        try:
            body = files.read(self._objects.path(digest))
        except FileNotFoundError:
            raise damaged(digest) from None
        if digest_bytes("file", body) != digest:
            self._objects.put_away(digest)
            raise damaged(digest)
        handle = files.create(target)
        try:
            files.write_all(handle, body)
        finally:
            os.close(handle)

    def _open_sound(self, digest: str, size: int) -> int:
        path = self._objects.path(digest)
        for _ in range(ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDONLY)
                info = os.fstat(handle)
                if info.st_size == size and self._objects.verified.matches(digest, info):
                    return handle
                os.close(handle)
            self._need(digest, size)
        raise damaged(digest)

    def _need(self, digest: str, size: int) -> None:
        if not self._objects.sound(digest, size):
            raise damaged(digest)

    def unlink(self, path: str, info: os.stat_result) -> None:
        """Remove a name that `link` may have given, and keep the object known as right."""
        digest = self._linked.get(info.st_ino) if info.st_nlink > 1 else None
        right = digest is not None and self._objects.verified.matches(digest, info)
        os.unlink(path)
        if digest is not None and right:
            with contextlib.suppress(FileNotFoundError):
                self._objects.verified.relinked(digest, os.stat(self._objects.path(digest)))
