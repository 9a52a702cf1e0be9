"""Remembers what was found out about files, as long as their stat does not change.

Kept in one JSON file that can be lost at any time: what it held is then found out again.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from edgepipe.digest import digest_file, digest_value
from edgepipe.errors import ConfigError

_VERSION = 1
_RACY_NS = 50_000_000
"""A file changed this recently could change again within the same time stamp."""


class FileState:
    """Facts about files by path, valid for one state of each file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = False
        self._facts: dict[str, Any] | None = None
        self._changed = False

    def digest(self, path: Path) -> str:
        """Digest of a file's content. Raises ConfigError where it cannot be read."""
        return str(self.fact("digest", path, digest_file))

    def tree(self, path: Path) -> dict[str, str]:
        """Digest of each file of a folder, by posix path; of a file alone under ``.``."""
        if not path.is_dir():
            return {".": self.digest(path)}
        files: dict[str, str] = {}
        above: dict[Path, frozenset[str]] = {}
        for folder, folders, names in os.walk(path, onerror=_refuse, followlinks=True):
            # A stage reads through links too; one that leads back up would never end.
            real = os.path.realpath(folder)
            parents = above.get(Path(folder).parent, frozenset())
            if real in parents:
                folders.clear()
                continue
            above[Path(folder)] = parents | {real}
            folders.sort()
            base = Path(folder)
            if not folders and not names:
                files[base.relative_to(path).as_posix() + "/"] = ""
            for name in sorted(names):
                files[(base / name).relative_to(path).as_posix()] = self.digest(base / name)
        return files

    def fact(self, what: str, path: Path, find: Callable[[Path], Any]) -> Any:
        """What ``find(path)`` gives, plain data, remembered under ``what``."""
        try:
            info = path.stat()
        except OSError as error:
            _refuse(error)
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"{path} is no regular file", "take it out of the folder")
        state = [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]
        name = f"{what}:{path.absolute()}"
        known = self._load().get(name)
        if isinstance(known, list) and len(known) == 2 and known[0] == state:
            return known[1]
        try:
            value = find(path)
        except OSError as error:
            _refuse(error)
        if time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) > _RACY_NS:
            self._load()[name] = [state, value]
            self._changed = True
        return value

    def save(self) -> None:
        """Write what is new, by one rename; a full disk or a read-only folder is no error here."""
        if not self._changed:
            return
        body = json.dumps({"version": _VERSION, "facts": self._load()})
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(body, encoding="utf-8")
            temporary.rename(self.path)
            self._changed = False

    def _load(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = {}
            try:
                value = json.loads(self.path.read_bytes())
                if value["version"] == _VERSION:
                    self._facts = dict(value["facts"])
            except FileNotFoundError:
                pass
            except (OSError, ValueError, TypeError, KeyError):
                self.damaged = True
        return self._facts


def _refuse(error: OSError) -> NoReturn:
    reason = (error.strerror or str(error)).lower()
    raise ConfigError(f"{error.filename} cannot be read: {reason}") from error


def tree_digest(files: dict[str, str]) -> str:
    """One digest for what `FileState.tree` gives."""
    return digest_value("source", files)
