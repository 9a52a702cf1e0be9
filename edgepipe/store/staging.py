"""Folders for what is not finished, used again: making and removing them costs more than a link."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable

from edgepipe.store import files
from edgepipe.store.session import Session

_KEPT = 16
"""Empty folders of one shape that are kept."""


class Staging:
    """Hands out folders below a session.

    A folder that comes back is emptied, and gets a new name before it is used again: what a
    process that was left behind still writes to the old path reaches nobody.
    """

    def __init__(self, session: Session, unlink: Callable[[str, os.stat_result], None]) -> None:
        self._session = session
        self._unlink = unlink
        self._empty: dict[frozenset[str], list[str]] = {}

    def take(self, names: Iterable[str]) -> str:
        """A new folder with empty folders of these names in it. Raises OSError."""
        self._session.check()
        path = self._session.path()
        shape = frozenset(names)
        for old in iter(lambda: self._pop(shape), ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(old, path)
                # Whoever was left behind may have written between the emptying and the renaming.
                if not any(os.listdir(f"{path}/{name}") for name in shape):
                    return path
                files.remove(path)
        os.mkdir(path)
        for name in shape:
            os.mkdir(f"{path}/{name}")
        return path

    def give_back(self, folder: str) -> None:
        """Empty a folder that was taken."""
        try:
            shape = frozenset(name for name in os.listdir(folder) if self._emptied(folder, name))
        except OSError:
            return
        kept = self._empty.setdefault(shape, [])
        if shape and len(kept) < _KEPT and set(os.listdir(folder)) == shape:
            kept.append(folder)
        else:
            files.remove(folder)

    def close(self) -> None:
        """Forget all: the session removes them."""
        self._empty.clear()

    def _pop(self, shape: frozenset[str]) -> str:
        kept = self._empty.get(shape)
        return kept.pop() if kept else ""

    def _emptied(self, folder: str, name: str) -> bool:
        """Whether a flat folder is left of an entry; everything else is removed."""
        path = f"{folder}/{name}"
        try:
            info = os.lstat(path)
            if not stat.S_ISDIR(info.st_mode):
                self._unlink(path, info)
                return False
            for inner, folders, names in os.walk(path, topdown=False):
                for file in names:
                    self._unlink(f"{inner}/{file}", os.lstat(f"{inner}/{file}"))
                for below in folders:
                    files.remove(f"{inner}/{below}")
        except OSError:
            return False
        # A stage may have taken the right to write away.
        return stat.S_IMODE(info.st_mode) & stat.S_IRWXU == stat.S_IRWXU
