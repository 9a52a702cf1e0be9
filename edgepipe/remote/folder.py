"""A remote in a folder, most often one on a network drive."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from edgepipe.remote.settings import Settings
from edgepipe.remote.transport import (
    LocalError,
    RejectedError,
    Sink,
    UnavailableError,
    Upload,
    UselessError,
)
from edgepipe.store.place import GATE, is_remote

T = TypeVar("T")
_PIECE = 64 << 10
_SYNC_MOST = 32 << 20
_SYNC_LEAST = 256 << 10
_LITTER_AGE = 24 * 3600.0
_READ_ONLY = 0o444
_UPLOAD = re.compile(r"\.?[0-9a-f]{32}")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}

Tick = Callable[[], None]


class Folder:
    """Files under their names; written beside their place, and linked or renamed into it."""

    def __init__(self, settings: Settings) -> None:
        self.root = Path(settings.base)
        self.timeout = settings.timeout
        self._tidied = False
        self._is_no_cache = False
        self._making = threading.Lock()
        self.got_on = 0.0

    def get(self, name: str, sink: Sink, limit: int, *, small: bool = False) -> bool:
        def work(tick: Tick) -> bool:
            try:
                # A pipe under this name would hold its reader for ever.
                handle = os.open(self.root / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                self._there()
                return False
            with os.fdopen(handle, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise RejectedError("it is no regular file")
                left = limit
                while piece := file.read(_PIECE):
                    tick()
                    if len(piece) > left:
                        raise RejectedError(f"it has more than {limit} bytes")
                    left -= len(piece)
                    sink(piece)
            return True

        return self._bounded(work, small=small)

    def size(self, name: str) -> int | None:
        def work(tick: Tick) -> int | None:
            try:
                return (self.root / name).stat().st_size
            except FileNotFoundError:
                self._there()
                return None

        return self._bounded(work)

    def put(self, name: str, upload: Upload, *, replace: bool) -> bool:
        def work(tick: Tick) -> bool:
            self._there()
            try:
                return self._put(name, upload, tick, replace=replace)
            except FileNotFoundError:
                # Somebody made the same folder at the same time, and the one that was used is gone.
                return self._put(name, upload, tick, replace=replace)

        return self._bounded(work)

    def _put(self, name: str, upload: Upload, tick: Tick, *, replace: bool) -> bool:
        target, beside = self.root / name, self.root / "tmp"
        with self._making:
            self._made(beside)
            self._made(target.parent)
            self._tidy(beside)
        source = beside / secrets.token_hex(16)
        try:
            _write(source, upload, tick, self.timeout)
            return _place(source, target, replace)
        finally:
            source.unlink(missing_ok=True)

    def names(self, table: str) -> Iterator[str]:
        def work(tick: Tick) -> list[str]:
            self._there()
            found = []
            for folder in sorted((self.root / table).glob("??")):
                tick()
                if folder.is_dir():
                    found += [folder.name + path.name for path in folder.iterdir()]
            return sorted(found)

        return iter(self._bounded(work))

    def close(self) -> None:
        pass

    def _there(self) -> None:
        """Where a drive is not mounted, nothing is there; that is not the same as empty."""
        if not self.root.is_dir() and not self.root.parent.is_dir():
            raise UnavailableError("there is no such folder: is its drive mounted?")

    def _no_cache(self) -> None:
        """What lies in a cache looks like damaged records, which would be replaced."""
        if (self.root / GATE).exists() and not is_remote(self.root):
            raise UselessError(f"it is a cache ({GATE} is in it): name a folder of its own")
        self._is_no_cache = True

    def _made(self, folder: Path) -> None:
        """Make a folder where there is none; who may write to the root may write to it too."""
        if folder.is_dir():
            return
        if folder == self.root:
            folder.mkdir(exist_ok=True)
            return
        self._made(folder.parent)
        # The one who made it alone can change its mode, and the umask took some away: it gets its
        # name when that is done, or others would be denied meanwhile, and for good after a kill.
        new = folder.with_name(f".{secrets.token_hex(16)}")
        new.mkdir()
        try:
            new.chmod(stat.S_IMODE(self.root.stat().st_mode))
            new.rename(folder)
        except OSError:
            with suppress(OSError):
                new.rmdir()
            if not folder.is_dir():
                raise

    def _tidy(self, beside: Path) -> None:
        """Remove what uploads left that were killed long ago, by the clock of the drive: files, and
        folders that had no name yet.

        What bears another name than uploads do is somebody else's.
        """
        if self._tidied:
            return
        self._tidied = True
        probe = beside / secrets.token_hex(16)
        probe.touch()
        now = probe.stat().st_mtime
        for folder in (beside, self.root, self.root / "objects", self.root / "records"):
            there = list(folder.iterdir()) if folder.is_dir() else []
            for path in (path for path in there if _UPLOAD.fullmatch(path.name)):
                # Of another member of the team it may not be removed.
                with suppress(OSError):
                    if path == probe or now - path.lstat().st_mtime > _LITTER_AGE:
                        path.unlink() if folder == beside else path.rmdir()

    def _bounded(self, work: Callable[[Tick], T], *, small: bool = False) -> T:
        def ticking(tick: Tick) -> T:
            def got_on() -> None:
                if not small:
                    self.got_on = time.monotonic()
                    tick()

            if not self._is_no_cache:
                self._no_cache()
            return work(got_on)

        return bounded(ticking, self.timeout)


def bounded(work: Callable[[Tick], T], timeout: float) -> T:
    """Do file work that may hang as a network drive can.

    Args:
        work: called with a function that it calls whenever it got on.
        timeout: seconds without getting on, after which UnavailableError is raised. What hangs cannot
            be ended: its thread is left behind, and does not keep the process alive.
    """
    outcome: list[T | BaseException] = []
    done = threading.Event()
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        last = time.monotonic()

    def run() -> None:
        try:
            outcome.append(work(tick))
        except BaseException as error:
            outcome.append(error)
        done.set()

    threading.Thread(target=run, name="edgepipe-folder", daemon=True).start()
    while not done.wait(max(0.0, last + timeout - time.monotonic())):
        if time.monotonic() - last >= timeout:
            raise UnavailableError(f"no answer within {timeout:g} s")
    result = outcome[0]
    if isinstance(result, OSError):
        raise UnavailableError((result.strerror or str(result)).lower()) from result
    if isinstance(result, BaseException):
        raise result
    return result


def _write(path: Path, upload: Upload, tick: Tick, timeout: float) -> None:
    with path.open("xb", buffering=0) as file:
        unsynced, portion = 0, _SYNC_LEAST
        for piece in upload.chunks(_PIECE):
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            tick()
            unsynced += len(piece)
            if unsynced >= portion:
                # In portions that a slow drive can take, or a single one looks as if it hung.
                began = time.monotonic()
                os.fdatasync(file.fileno())
                quick = time.monotonic() - began < timeout / 20
                portion = min(portion * 2, _SYNC_MOST) if quick else max(portion // 2, _SYNC_LEAST)
                unsynced = 0
                tick()
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    if size != upload.size:
        raise LocalError(f"{size} bytes came where {upload.size} were announced")
    path.chmod(_READ_ONLY)


def _place(source: Path, target: Path, replace: bool) -> bool:
    if not replace:
        try:
            os.link(source, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.exists():
                return False
        else:
            return True
    source.replace(target)
    return True
