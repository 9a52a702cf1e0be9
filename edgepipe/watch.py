"""Whether the files that a node may read are as they were when its key was made.

A running stage asks before it keeps anything to go on from: what was read from an edited file must
not be gone on with once the edit was taken back. Needs the standard library only, since a worker
in another environment asks too.
"""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import os
import re
import stat
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import is_, itemgetter
from typing import Any

from edgepipe.usercode import file_of

Stamp = list[int] | None
"""A file's stat, see `stamp_of` and `state_of`; None for a file that is not there."""
TreeStamp = Sequence[str]
"""Of the files below a folder: what writing them changes, their links and rights, and when they
were last changed at all.
"""

_BY_THE_WAY = re.compile(r"\.DS_Store|\..*\.sw[a-z]|\.#.*|.*~|\.nfs[0-9a-f]{8,}")
"""What file managers, editors and NFS leave in a folder that somebody looks into."""
_PROBE = "4913"
"""The name of an empty file by which vim finds out whether it may write; also of anybody's data."""


class Watch:
    """The files of one node.

    Args:
        watched: plain data. ``data``: dotted parameter → path and `tree_stamp` of what it names.
            ``code``: path → `state_of` the files that are imported. ``rereads``: whether they may
            be read again. ``files``: path → `stamp_of` those that code may read. ``folders``:
            path → `names_stamp` of those that it may search.
    """

    def __init__(self, watched: Mapping[str, Any]) -> None:
        self._data: Mapping[str, tuple[str, TreeStamp]] = watched.get("data", {})
        self._code: Mapping[str, Stamp] = watched.get("code", {})
        self._rereads: bool = watched.get("rereads", False)
        self._files: Mapping[str, Stamp] = watched.get("files", {})
        self._folders: Mapping[str, str] = watched.get("folders", {})
        self._vouched: dict[str, dict[int, Any]] = {}
        """Path → the modules that are beyond doubt; kept, so that no other gets their identity."""
        self._mutex = _thread.allocate_lock()

    def edited(self) -> list[str]:
        """The parameters below whose files something was written: a file that was put back counts,
        since it may have been read in between.
        """
        return self.data()[0]

    def data(self) -> tuple[list[str], list[str]]:
        """The parameters that were `edited`, and those that may have been; see `is_doubtful`."""
        edited, doubtful = [], []
        for name, (path, stamp) in self._data.items():
            now = _now(path)
            if is_edited(stamp, now):
                edited.append(name)
            elif is_doubtful(stamp, now):
                doubtful.append(name)
        return edited, doubtful

    def written(self) -> list[str]:
        """Files that were written, and that the stage may have read since, or may still read."""
        vouched = self._vouched
        return [
            *(p for p, state in self._code.items() if p not in vouched and state_of(p) != state),
            *(path for path, stamp in self._files.items() if _is_written(stamp, stamp_of(path))),
        ]

    def relisted(self) -> list[str]:
        """Folders in which names came or went. Most are none that the stage looks for, and only
        who knows its code can tell.
        """
        folders = self._folders.items()
        return [path for path, stamp in folders if names_stamp(names_in(path)) != stamp]

    def vouch(self) -> list[str]:
        """What was `written`, asked by the process that runs the stage: a module that is there
        while its file is still as it was is beyond doubt from then on, if that is not read again.
        So ask early, and now and then.
        """
        with self._mutex:
            if not self._rereads:
                # The modules first: one that is loaded after its file was looked at proves nothing.
                found = _modules(self._code)
                self._vouched = {
                    path: modules
                    for path in (*self._vouched, *(p for p in found if p not in self._vouched))
                    if (modules := self._beyond_doubt(path, found.get(path, {})))
                }
            return self.written()

    @property
    def vouched(self) -> list[str]:
        """The files of code that are beyond doubt."""
        return sorted(self._vouched)

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to vouch for."""
        return self._rereads or self._vouched.keys() >= self._code.keys()

    def _beyond_doubt(self, path: str, modules: dict[int, Any]) -> dict[int, Any]:
        """Of the modules of a file those that are; none where another was loaded since an edit."""
        known = self._vouched.get(path, {})
        if modules.keys() <= known.keys():
            return known
        return {**known, **modules} if state_of(path) == self._code[path] else {}


def _modules(files: Collection[str]) -> dict[str, dict[int, Any]]:
    """The modules of some files."""
    found: dict[str, dict[int, Any]] = {}
    for path, module in _files() if files else ():
        if path in files:
            found.setdefault(path, {})[id(module)] = module
    return found


_loaded: Sequence[tuple[str, Any]] = ()
"""What `_files` gave last."""
_second = itemgetter(1)


def _files() -> Sequence[tuple[str, Any]]:
    """All modules that are loaded, each with its file."""
    global _loaded
    modules = list(sys.modules.values())
    known = _loaded
    # Most jobs import nothing new, and a framework has thousands of modules.
    if len(known) != len(modules) or not all(map(is_, modules, map(_second, known))):
        known = _loaded = [(file_of(module), module) for module in modules]
    return known


def changed_while_read(names: Iterable[str]) -> tuple[str, str]:
    """What to tell of a node that read files which changed, and what next."""
    message = f"the files of {', '.join(names)} changed while the node read them"
    return message, "run again: the result would be of neither"


def stamp_of(path: str) -> Stamp:
    """A file's inode, size, time of writing, links and rights, and when it was last changed at all."""
    try:
        info = os.stat(path)  # noqa: PTH116  a Path costs more than the call
    except OSError:
        return None
    return [*_writing(info), *_rights(info), info.st_ctime_ns]


def _writing(info: os.stat_result) -> list[int]:
    return [info.st_ino, info.st_size, info.st_mtime_ns]


def _rights(info: os.stat_result) -> list[int]:
    return [info.st_mode, info.st_nlink, info.st_uid, info.st_gid]


def _is_written(before: Stamp, now: Stamp) -> bool:
    """Whether a file may have been written between two of its stamps; see `is_doubtful`."""
    if before is None or now is None:
        return before is not now
    return before[:3] != now[:3] or (before[3:-1] == now[3:-1] and before[-1] != now[-1])


def state_of(path: str) -> Stamp:
    """The stamp of a file, and when it was last changed at all, in ns: this time is the kernel's, and
    the other one is anybody's to put back.
    """
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return [info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def tree_stamp(files: Iterable[tuple[str, os.stat_result | None]]) -> TreeStamp:
    """What `is_edited` and `is_doubtful` compare.

    Args:
        files: names below a folder, each with its stat; None for an empty folder.
    """
    parts: tuple[list[Any], list[Any], list[Any]] = [], [], []
    for name, info in files:
        parts[0].append(name)
        if info is not None:
            parts[0].append(_writing(info))
            parts[1].append(_rights(info))
            parts[2].append(info.st_ctime_ns)
    return [_digest("\0".join(map(str, part))) for part in parts]


def is_edited(before: TreeStamp, now: TreeStamp) -> bool:
    """Whether a file was written, even where its content ends as it was."""
    return before[0] != now[0]


def is_doubtful(before: TreeStamp, now: TreeStamp) -> bool:
    """Whether only the kernel's time says that a file was changed, and neither links nor rights
    account for it: that of writing may have been put back, as ``cp -p`` does.
    """
    return list(before[:2]) == list(now[:2]) and before[2] != now[2]


def names_in(folder: str) -> set[str]:
    """The names in a folder, less those that come with a run; none where there is no folder."""
    with contextlib.suppress(OSError):
        names = os.listdir(folder)  # noqa: PTH208
        known = {n for n in names if not _is_by_the_way(n, f"{folder}/{n}")}
        return {n for n in known if not n.endswith(".pyc")} - {"__pycache__", ".edgepipe"}
    return set()


def _is_by_the_way(name: str, path: str) -> bool:
    if name != _PROBE:
        return _BY_THE_WAY.fullmatch(name) is not None
    try:
        info = os.lstat(path)
    except OSError:
        return True
    return stat.S_ISREG(info.st_mode) and not info.st_size


def names_stamp(names: Iterable[str]) -> str:
    """Changes with the names in a folder."""
    return _digest("\0".join(sorted(names)))


def _digest(text: str) -> str:
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
            entries = sorted(
                (entry for entry in found if not _is_by_the_way(entry.name, entry.path)),
                key=lambda entry: entry.name,
            )
        if not entries:
            yield above or "./", folder, None
        for entry in entries:
            name = f"{above}{entry.name}"
            info = entry.stat()
            if not stat.S_ISDIR(info.st_mode):
                yield name, entry.path, info
            elif (identity := (info.st_dev, info.st_ino)) not in parents:
                waiting.append((f"{name}/", entry.path, parents | {identity}))


def _now(path: str) -> TreeStamp:
    try:
        return tree_stamp((name, info) for name, _, info in walk(path, set()))
    except OSError:
        return ["", "", ""]
