"""Whether the files that a node may read are as they were when its key was made.

A running stage asks before it keeps anything to go on from: what was read from an edited file must
not be gone on with once the edit was taken back. Needs the standard library only, since a worker
in another environment asks too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Stamp = list[int] | None
"""What writing a file changes: inode, size, time in ns. To link it, or to set its rights, is no
writing. None for a file that is not there.
"""


class Watch:
    """The files of one node.

    Args:
        watched: plain data. ``data``: dotted parameter → path and `tree_stamp` of what it names.
            ``code``: path → `state_of` the files that are imported. ``rereads``: whether they may
            be read again. ``files``: path → `stamp_of` those that code may read. ``folders``:
            path → `names_stamp` of those that it may search.
    """

    def __init__(self, watched: Mapping[str, Any]) -> None:
        self._data: Mapping[str, tuple[str, str]] = watched.get("data", {})
        self._code: Mapping[str, Stamp] = watched.get("code", {})
        self._rereads: bool = watched.get("rereads", False)
        self._files: Mapping[str, Stamp] = watched.get("files", {})
        self._folders: Mapping[str, str] = watched.get("folders", {})

    def edited(self) -> list[str]:
        """The parameters below whose files something was written: a file that was put back counts,
        since it may have been read in between.
        """
        return [name for name, (path, stamp) in self._data.items() if _now(path) != stamp]

    def written(self) -> list[str]:
        """Files that were written, and that the stage may have read since, or may still read."""
        return [
            *(path for path, state in self._code.items() if state_of(path) != state),
            *(path for path, stamp in self._files.items() if stamp_of(path) != stamp),
        ]

    def relisted(self) -> list[str]:
        """Folders in which names came or went. Most are none that the stage looks for, and only
        who knows its code can tell.
        """
        folders = self._folders.items()
        return [path for path, stamp in folders if names_stamp(names_in(path)) != stamp]

    def vouch(self) -> list[str]:
        """The same, by the process that runs the stage: a module that is there while its file is
        still as it was is beyond doubt from then on, if that is not read again. So ask early, and
        now and then.
        """
        written = self.written()
        modules = [] if self._rereads or not self._code else list(sys.modules.values())
        loaded = {str(getattr(module, "__file__", None)) for module in modules}
        beyond = loaded.difference(written)
        # A new dictionary, since other threads of the stage may ask at the same time.
        self._code = {path: stamp for path, stamp in self._code.items() if path not in beyond}
        return written


def changed_while_read(names: Iterable[str]) -> tuple[str, str]:
    """What to tell of a node that read files which changed, and what next."""
    message = f"the files of {', '.join(names)} changed while the node read them"
    return message, "run again: the result would be of neither"


def stamp_of(path: str) -> Stamp:
    """The stamp of a file."""
    try:
        info = os.stat(path)  # noqa: PTH116  a Path costs more than the call
    except OSError:
        return None
    return [info.st_ino, info.st_size, info.st_mtime_ns]


def state_of(path: str) -> Stamp:
    """The stamp of a file, and when it was last changed at all, in ns: this time is the kernel's, and
    the other one is anybody's to put back.
    """
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def tree_stamp(files: Iterable[tuple[str, os.stat_result | None]]) -> str:
    """Changes whenever a file is written, even where its content ends as it was.

    Args:
        files: names below a folder, each with its stat; None for an empty folder.
    """
    parts = (
        name if info is None else f"{name}\0{info.st_ino} {info.st_size} {info.st_mtime_ns}"
        for name, info in files
    )
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def names_in(folder: str) -> set[str]:
    """The names in a folder, less those that come with a run; none where there is no folder."""
    with contextlib.suppress(OSError):
        names = os.listdir(folder)  # noqa: PTH208
        return {name for name in names if not name.endswith(".pyc")} - {"__pycache__", ".edgepipe"}
    return set()


def names_stamp(names: Iterable[str]) -> str:
    """Changes with the names in a folder."""
    text = "\0".join(sorted(names))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def walk(path: str, folders: set[str]) -> Iterator[tuple[str, str, os.stat_result | None]]:
    """Each file below a folder: its name there, its path, its stat. An empty folder has none.

    Links are followed, since a stage reads through them too; one that leads back up would never
    end, and is left out.

    Args:
        path: of the folder, or of one file, whose name is ``.``.
        folders: gets the paths of the folders.

    Raises:
        OSError: something cannot be read.
    """
    info = os.stat(path)  # noqa: PTH116
    if not stat.S_ISDIR(info.st_mode):
        yield ".", path, info
        return
    waiting = [("", path, frozenset({(info.st_dev, info.st_ino)}))]
    while waiting:
        above, folder, parents = waiting.pop()
        folders.add(folder)
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        if not entries:
            yield above or "./", folder, None
        for entry in entries:
            name = f"{above}{entry.name}"
            info = entry.stat()
            if not stat.S_ISDIR(info.st_mode):
                yield name, entry.path, info
            elif (identity := (info.st_dev, info.st_ino)) not in parents:
                waiting.append((f"{name}/", entry.path, parents | {identity}))


def _now(path: str) -> str:
    try:
        return tree_stamp((name, info) for name, _, info in walk(path, set()))
    except OSError:
        return ""
