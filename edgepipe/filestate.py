"""Remembers what was found out about files, as long as their stat does not change.

Kept in one JSON file that can be lost at any time: what it held is then found out again. It
carries a digest of itself, so that a damaged one is never believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edgepipe.digest import digest_bytes, digest_file, digest_value
from edgepipe.errors import ConfigError
from edgepipe.replacing import replace
from edgepipe.watch import TreeStamp, tree_stamp, walk

_VERSION = 2
_RACY_NS = 50_000_000
"""A file changed this recently could change again within the same time stamp."""


@dataclass(frozen=True)
class Seen:
    """A folder's files, or a file, as they were found at one time."""

    files: dict[str, str]
    """Digest of each file by posix path; of a file alone under ``.``."""
    stamp: TreeStamp
    """See `edgepipe.watch.tree_stamp`."""


class FileState:
    """Facts about files by path, valid for one state of each file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = False
        """The file was there and could not be used."""
        self.consulted: set[str] = set()
        """Every file and folder that was asked for."""
        self._facts: dict[str, Any] | None = None
        self._changed = False

    def digest(self, path: Path) -> str:
        """Digest of a file's content. Raises ConfigError where it cannot be read."""
        return str(self.fact("digest", path, digest_file))

    def tree(self, path: Path) -> dict[str, str]:
        """Digest of each file of a folder, by posix path; of a file alone under ``.``."""
        return self.look(path).files

    def look(self, path: Path) -> Seen:
        """Read a folder's files, or a file. Raises ConfigError where it cannot be read."""
        files: dict[str, str] = {}
        facts = self._load()
        try:
            found = list(walk(str(path.absolute()), self.consulted))
        except OSError as error:
            _refuse(error)
        for name, place, info in found:
            if info is None:
                files[name] = ""
                continue
            state = [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
            known = facts.get(f"digest:{place}")
            if isinstance(known, list) and len(known) == 2 and known[0] == state:
                files[name] = str(known[1])
                self.consulted.add(place)
            else:
                files[name] = self._find("digest", place, info, digest_file)
        return Seen(files, tree_stamp((name, info) for name, _, info in found))

    def fact(self, what: str, path: Path, find: Callable[[Path], Any]) -> Any:
        """What ``find(path)`` gives, plain data, remembered under ``what``."""
        try:
            info = path.stat()
        except OSError as error:
            _refuse(error)
        return self._find(what, str(path.absolute()), info, find)

    def forget(self, what: str, path: Path) -> None:
        """Let a fact be found out again."""
        self._load().pop(f"{what}:{path.absolute()}", None)

    def _find(self, what: str, path: str, info: os.stat_result, find: Callable[[Path], Any]) -> Any:
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"{path} is no regular file", "take it out of the folder")
        self.consulted.add(path)
        state = [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
        name = f"{what}:{path}"
        known = self._load().get(name)
        if isinstance(known, list) and len(known) == 2 and known[0] == state:
            return known[1]
        try:
            value = find(Path(path))
            after = Path(path).stat()
        except OSError as error:
            _refuse(error)
        settled = [after.st_ino, after.st_size, after.st_mtime_ns, after.st_ctime_ns] == state
        # The time of the last change is the kernel's; the other one is anybody's.
        if settled and time.time_ns() - info.st_ctime_ns > _RACY_NS:
            self._load()[name] = [state, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Write what is new, by one rename; a full disk or a read-only folder is no error here."""
        if not self._changed and not self.damaged:
            return
        facts = json.dumps(self._load()).encode()
        head = json.dumps({"version": _VERSION, "digest": digest_bytes("facts", facts)}).encode()
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace(os.fspath(self.path), head + b"\n" + facts)
            self._changed = False

    def _load(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = {}
            try:
                head, _, facts = self.path.read_bytes().partition(b"\n")
                value = json.loads(head)
                if value["version"] == _VERSION:
                    self._facts = self._checked(value["digest"], facts)
                elif not isinstance(value["version"], int):
                    self.damaged = True
            except FileNotFoundError:
                pass
            except (OSError, ValueError, TypeError, KeyError):
                self.damaged = True
        return self._facts

    def _checked(self, digest: str, facts: bytes) -> dict[str, Any]:
        if digest_bytes("facts", facts) != digest:
            self.damaged = True
            return {}
        return dict(json.loads(facts))


def _refuse(error: OSError) -> NoReturn:
    reason = (error.strerror or str(error)).lower()
    raise ConfigError(f"{error.filename} cannot be read: {reason}") from error


def tree_digest(files: dict[str, str]) -> str:
    """One digest for what `FileState.tree` gives."""
    return digest_value("source", files)
