"""Files as the store handles them: plain system calls, since a run makes them by the thousand."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edgepipe.errors import StoreError

READ_ONLY = 0o444
MTIME = 946_684_800_000_000_000
"""Every object's time stamp, 2000-01-01. Whoever writes into one sets it to now: so it is noticed
even where the clock has not ticked since the object was looked at."""

_FICLONE = 0x40049409
_SMALL = 1 << 17
"""Bytes up to which a file is copied through memory: cheaper than asking for a reflink."""
_FIRST = 1 << 15
"""Bytes of the first read: more would be a memory map for each file."""
_COPY_ELSE = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTTY}


@contextlib.contextmanager
def explained(place: Path | str) -> Iterator[None]:
    """Turn an OSError into an error that says what to do."""
    try:
        yield
    except OSError as error:
        hint = ""
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = (
                f"make room on the file system of {place}, then run again: finished nodes are kept"
            )
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            hint = f"make {place} writable, or set EDGEPIPE_CACHE to another folder"
            name = error.filename
            if isinstance(name, str) and os.path.lexists(name) and not os.access(name, os.R_OK):
                hint = f"let yourself read it: chmod u+rX {name}"
        elif error.errno in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
            hint = "its file system has no locks: set EDGEPIPE_CACHE to a folder on another one"
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"{error.filename or place}: {reason}", hint) from error


def walk(folder: str) -> list[tuple[str, str]]:
    """All regular files below a folder as (posix path in it, path), sorted.

    Raises:
        StoreError: the folder is a link, or a link or a special file is among them.
    """
    if os.path.islink(folder):
        hint = "the files that it leads to are not the stage's to give: write a copy of them"
        raise StoreError(f"{os.path.basename(folder)} is a link", hint)
    found: list[tuple[str, str]] = []
    folders = [("", folder)]
    while folders:
        base, path = folders.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    found.append((base + entry.name, entry.path))
                elif entry.is_dir(follow_symlinks=False):
                    folders.append((f"{base}{entry.name}/", entry.path))
                else:
                    hint = "an artifact is made of regular files: write a copy instead of a link"
                    raise StoreError(f"{entry.name} is no regular file", hint)
    found.sort()
    return found


def read(path: str) -> bytes:
    """A whole file. Raises OSError; a pipe in its place is empty, instead of waited for."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        # Most are small: one call more only tells that there is no more.
        body = os.read(handle, _FIRST)
        if len(body) == _FIRST:
            parts = [body]
            while part := os.read(handle, 1 << 22):
                parts.append(part)
            body = b"".join(parts)
        return body
    finally:
        os.close(handle)


def write_new(path: str, body: bytes) -> None:
    """Write a file that is not there yet, read-only; what is half written is removed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READ_ONLY)
    try:
        write_all(handle, body)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(handle)


def write_all(handle: int, body: bytes | memoryview) -> None:
    """Write all bytes to an open file."""
    done = os.write(handle, body)
    if done < len(body):
        rest = memoryview(body)[done:]
        while rest:
            rest = rest[os.write(handle, rest) :]


def into_place(source: str, target: str) -> None:
    """Rename a finished file to its name in a table."""
    try:
        os.rename(source, target)
    except FileNotFoundError:
        os.makedirs(target.rpartition("/")[0], exist_ok=True)
        os.rename(source, target)


def copy_bytes(source: int, target: int, size: int) -> None:
    """Copy an open file to an empty one: shared blocks where the file system has them.

    Raises:
        OSError: the disk is full, or the source has other than ``size`` bytes.
    """
    done = 0
    if size > _SMALL:
        with contextlib.suppress(OSError):
            fcntl.ioctl(target, _FICLONE, source)
            return
        done = _copy_in_kernel(source, target, size)
    while done < size:
        body = os.read(source, min(size - done, 1 << 22))
        if not body:
            raise OSError(errno.EIO, "the file is shorter than it was")
        write_all(target, body)
        done += len(body)
    if os.read(source, 1):
        raise OSError(errno.EIO, "the file is longer than it was")


def _copy_in_kernel(source: int, target: int, size: int) -> int:
    done = 0
    try:
        while done < size and (count := os.copy_file_range(source, target, size - done)):
            done += count
    except OSError as error:
        if error.errno not in _COPY_ELSE:
            raise
    return done


def create(path: str) -> int:
    """Open a new file for the user; what bore its name is unlinked, not written through."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o666)


def shards(table: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry of a table as (digest or key, entry); what has no such name is left out."""
    for shard in _entries(table):
        if len(shard.name) == 2 and shard.is_dir(follow_symlinks=False):
            for entry in _entries(shard.path):
                name = shard.name + entry.name
                if len(name) == 64:
                    yield name, entry


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove(path: str) -> int:
    """Remove a file or a folder and all below; how many bytes became free, as far as is known."""
    try:
        freed = _remove(path)
    except RecursionError:
        freed = 0
    if os.path.isdir(path) and not os.path.islink(path):
        _remove_deep(path)
    return freed


def _remove_deep(path: str) -> None:
    """Remove folders in folders that are deeper than a path may be long, or a stack high."""
    import shutil
    import subprocess

    if program := shutil.which("rm"):
        subprocess.run([program, "-rf", "--", path], stderr=subprocess.DEVNULL, check=False)


def _remove(path: str) -> int:
    freed = 0
    try:
        info = os.lstat(path)
    except OSError:
        return 0
    if stat.S_ISDIR(info.st_mode):
        for entry in _entries(path):
            freed += _remove(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(path)
        return freed
    with contextlib.suppress(OSError):
        os.unlink(path)
        freed = info.st_size if info.st_nlink == 1 else 0
    return freed


def size_of(path: str) -> int:
    """Bytes of a file, or of all files below a folder; 0 if it is not there."""
    try:
        info = os.lstat(path)
    except OSError:
        return 0
    if not stat.S_ISDIR(info.st_mode):
        return info.st_size
    return sum(size_of(entry.path) for entry in _entries(path))


def sync(folder: str) -> None:
    """Make all that was written to a folder's file system durable. Raises OSError."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if library.syncfs(handle):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)
    finally:
        os.close(handle)
