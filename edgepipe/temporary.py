"""Temporary files of runs: in one folder a user, from which those of dead processes are removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from edgepipe.store.session import Session, remove_litter


class Temporary:
    """A folder for this process and its workers, made when first needed; after a kill, the next
    run removes it.
    """

    def __init__(self) -> None:
        self._session: Session | None = None
        self._private = ""
        """A folder that only this process knows of."""

    def new(self) -> Path:
        """A new empty folder. Raises OSError where there is no room or place for it."""
        if self._session is None:
            folder = _folder()
            if folder is None:
                folder = self._private = tempfile.mkdtemp(prefix="edgepipe-")
            self._session = Session(folder)
        path = Path(self._session.path())
        path.mkdir()
        return path

    def close(self) -> None:
        """Remove all."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._private:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = ""


def clean() -> None:
    """Remove what killed processes left, where that can be done."""
    with contextlib.suppress(OSError):
        if (folder := _folder()) is not None:
            remove_litter(folder)


def _folder() -> str | None:
    """The user's folder; None where that name is somebody else's, or open to others."""
    path = Path(tempfile.gettempdir(), f"edgepipe-{os.getuid()}")
    try:
        path.mkdir(0o700)
    except FileExistsError:
        found = path.lstat()
        own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not own or stat.S_IMODE(found.st_mode) & 0o077:
            return None
    return os.fspath(path)
