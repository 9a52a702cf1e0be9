"""Records: key → what its computation made."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from edgepipe.errors import StoreError
from edgepipe.store import files
from edgepipe.store.model import Damage, Record, origin_of, pack_record, unpack_record
from edgepipe.store.session import Session

_USED_SECONDS = 3600
"""How exactly the time of a record's last use is kept: as the file's mtime."""


class Records:
    """The table of records of one store."""

    def __init__(self, root: str, session: Session, tell: Callable[[Damage], None]) -> None:
        self.table = f"{root}/records"
        self._away = f"{root}/quarantine"
        self._session = session
        self._tell = tell

    def path(self, key: str) -> str:
        """Where a record is, if it is there."""
        return f"{self.table}/{key[:2]}/{key[2:]}"

    def place_away(self, key: str) -> str:
        """Where a record is that was put away, if it is there."""
        return f"{self._away}/{key}"

    def get(self, key: str) -> Record | None:
        """The record of a key, and note that it was used. Raises OSError."""
        path = self.path(key)
        try:
            body = files.read(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            # In its place no record could be written.
            place = self._out_of_the_way(key)
            self._tell(Damage(key, f"the record {key[:12]} is damaged: it is a folder", place))
            return None
        try:
            record = unpack_record(body)
        except ValueError as error:
            # It is no record: the node runs again and writes a new one in its place.
            self._tell(Damage(key, f"the record {key[:12]} is damaged: {error}", path))
            return None
        if record is None or record.key != key:
            return None
        # A cache that is read-only, or somebody else's, keeps no times.
        with contextlib.suppress(OSError):
            now = time.time()
            if abs(now - os.stat(path).st_mtime) > _USED_SECONDS:
                os.utime(path, (now, now))
        return record

    def _out_of_the_way(self, key: str) -> str:
        """Move what is in a record's place; where it is then, empty if it could not be moved."""
        place = f"{self.place_away(key)}.{os.urandom(4).hex()}"
        try:
            files.into_place(self.path(key), place)
        except OSError:
            return ""
        return place

    def peek(self, key: str) -> Record | None:
        """The record of a key for looking at: it does not count as used; damage is not said."""
        return _read(self.path(key), key)

    def used(self, key: str) -> float:
        """When a record was used last, to the hour, in seconds since the epoch; 0 without one."""
        try:
            return os.stat(self.path(key)).st_mtime
        except OSError:
            return 0.0

    def keys(self) -> Iterator[str]:
        """The keys of all records, in order."""
        return (key for key, _ in files.shards(self.table))

    def put(self, record: Record, origin: str = "") -> None:
        """Write a record, by one rename.

        Args:
            record: the record.
            origin: where it came from, if nothing but its place vouches for it.

        Raises:
            OSError: the disk is full.
            StoreError: a name or number in it cannot be kept.
        """
        try:
            body = pack_record(record, origin)
        except ValueError as error:
            message = f"the result of {record.kind!a} cannot be kept: {error}"
            hint = "names are one short line of text, and numbers are finite"
            raise StoreError(message, hint) from error
        path = self._session.path()
        files.write_new(path, body)
        try:
            files.into_place(path, self.path(record.key))
        except BaseException:
            os.unlink(path)
            raise
        with contextlib.suppress(OSError):
            os.unlink(self.place_away(record.key))

    def origin(self, key: str) -> str:
        """Where a record came from that nothing else vouches for; else empty. Raises OSError."""
        try:
            return origin_of(files.read(self.path(key)))
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def put_away(self, key: str) -> bool:
        """Take a record, whose result is damaged, out of use; whether it was there. Raises OSError."""
        try:
            files.into_place(self.path(key), self.place_away(key))
        except FileNotFoundError:
            return False
        return True

    def is_away(self, key: str) -> bool:
        """Whether a record was put away, and its result not made again since."""
        return os.path.exists(self.place_away(key))

    def peek_away(self, key: str) -> Record | None:
        """A record that was put away, if it can be read: for saying what was."""
        return _read(self.place_away(key), key)

    def drop(self, key: str) -> bool:
        """Remove a record; whether it was there. Raises OSError."""
        try:
            os.unlink(self.path(key))
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            files.remove(self.path(key))
        return True


def _read(path: str, key: str) -> Record | None:
    with contextlib.suppress(OSError, ValueError):
        record = unpack_record(files.read(path))
        return record if record and record.key == key else None
    return None
