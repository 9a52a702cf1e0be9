"""Which objects' bytes were hashed and found right, as long as their stat stays the same.

One line for each in an appended file: digest, inode, size, mtime_ns, ctime_ns. The last line of a
digest counts. Losing the file costs hashing, never correctness: a line that is wrong fits no file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

from edgepipe.store.files import into_place, write_all, write_new
from edgepipe.store.model import Damage

_SPARE = 1000
"""Lines that are out of date, before the file is written anew."""


class Verified:
    """The stat cache of one store. `save` may be called only after a sync of what is noted."""

    def __init__(self, path: str, tell: Callable[[Damage], None]) -> None:
        self.path = path
        self._tell = tell
        self.damaged = False
        self._known: dict[str, str] | None = None
        self._lines = 0
        self._new: dict[str, str] = {}
        self._gone: set[str] = set()

    @property
    def pending(self) -> bool:
        """Whether there is something to save."""
        return bool(self._new)

    def matches(self, digest: str, info: os.stat_result) -> bool:
        """Whether the object had this very stat when it was found right."""
        return self._load().get(digest) == _state(info)

    def add(self, digest: str, info: os.stat_result) -> None:
        """Note an object that was hashed and found right."""
        self._load()[digest] = self._new[digest] = _state(info)

    def unwritten(self, digest: str, info: os.stat_result) -> bool:
        """Whether nothing but the ctime differs from the stat that was found right."""
        known = self._load().get(digest)
        return known is not None and _but_ctime(known) == _but_ctime(_state(info))

    def relinked(self, digest: str, info: os.stat_result) -> None:
        """Note the new ctime of an object that this process itself linked or unlinked, where
        nothing else is new.
        """
        if self.unwritten(digest, info):
            self.add(digest, info)

    def forget(self, digest: str) -> None:
        """Note that an object is gone."""
        self._load().pop(digest, None)
        self._new.pop(digest, None)
        self._gone.add(digest)

    def take(self) -> dict[str, str]:
        """What is new; to be given to `save` once it is durable."""
        new, self._new = self._new, {}
        return new

    def take_over(self, found: dict[str, str]) -> None:
        """Note what another instance found right and `take` gave."""
        self._load().update(found)
        self._new.update(found)

    def save(self, new: dict[str, str], temporary: str, *, compact: bool = False) -> None:
        """Append what is new, or write the file anew. Raises OSError."""
        known = self._load()
        compact = compact or self.damaged or self._lines > 2 * len(known) + _SPARE
        body = "".join(f"{digest} {state}\n" for digest, state in new.items()).encode("latin-1")
        handle = self._locked()
        try:
            if compact:
                # Another process may have appended since.
                fresh = {**_parse(_read(self.path))[0], **new}
                for digest in self._gone - new.keys():
                    fresh.pop(digest, None)
                lines = "".join(f"{digest} {state}\n" for digest, state in fresh.items())
                write_new(temporary, lines.encode("latin-1"))
                os.chmod(temporary, 0o644)
                into_place(temporary, self.path)
                self._lines, self.damaged, self._gone = len(fresh), False, set()
            elif body:
                write_all(handle, body)
                self._lines += len(new)
        finally:
            os.close(handle)

    def _locked(self) -> int:
        while True:
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(self.path).st_ino == os.fstat(handle).st_ino:
                        return handle
            except BaseException:
                os.close(handle)
                raise
            # It was written anew by another process in between.
            os.close(handle)

    def _load(self) -> dict[str, str]:
        if self._known is None:
            self._known, self._lines, self.damaged = _parse(_read(self.path))
            if self.damaged:
                what = "the list of verified objects is damaged: it is made again"
                self._tell(Damage("", what, self.path))
        return self._known


def _state(info: os.stat_result) -> str:
    return f"{info.st_ino} {info.st_size} {info.st_mtime_ns} {info.st_ctime_ns}"


def _but_ctime(state: str) -> str:
    return state.rpartition(" ")[0]


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("latin-1")
    except OSError:
        return ""


def _parse(text: str) -> tuple[dict[str, str], int, bool]:
    known: dict[str, str] = {}
    lines = text.split("\n")
    # What follows the last line's end: nothing, or a line that a kill cut off.
    wrong = lines.pop() != ""
    for line in lines:
        if line[64:65] == " " and line.count(" ") == 4:
            known[line[:64]] = line[65:]
        else:
            wrong = True
    return known, len(lines), wrong
