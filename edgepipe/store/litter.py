"""What dead processes left behind."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from edgepipe.holding import held
from edgepipe.store.files import remove, size_of
from edgepipe.store.locks import Lock
from edgepipe.store.roots import drop_old
from edgepipe.store.session import TMP, remove_litter
from edgepipe.store.valid import is_digest

if TYPE_CHECKING:
    from edgepipe.store import Store

SCRATCH_DAYS = 14
"""How long a killed node may be gone on with."""
PARTIAL = (".tmp", ".partial")
"""How the names of files end that are being written in a scratch folder."""


def clean(store: Store) -> None:
    """Remove staging folders of dead processes, and of their scratch folders what cannot be gone
    on with: partial files, empty folders, and those of keys whose record is there.
    """
    remove_litter(f"{os.fspath(store.root)}/{TMP}")
    clean_scratch(store)
    drop_old(store)


def clean_scratch(
    store: Store, older_than: float | None = None, *, dry_run: bool = False
) -> tuple[int, int]:
    """Clear scratch folders that no live process holds; how many entries, and bytes.

    Args:
        store: the store.
        older_than: seconds since the last change after which a folder goes whole; never if None.
        dry_run: only count.
    """
    folder = f"{os.fspath(store.root)}/scratch"
    count = size = 0
    for key in _keys(folder):
        path = f"{folder}/{key}"
        with contextlib.suppress(OSError):
            lock = Lock.take(f"{os.fspath(store.root)}/locks/{key}")
            if lock is None:
                continue
            with lock:
                for useless in _useless(store, key, path, older_than):
                    count += 1
                    size += size_of(useless) if dry_run else remove(useless)
    return count, size


def _useless(store: Store, key: str, path: str, older_than: float | None) -> list[str]:
    if os.path.islink(path) or key.endswith(PARTIAL):
        # What lies where a stage let it lead is not ours to clear; what a worker was removing is.
        return [path]
    entries = _names(path)
    done = store.has_record(key)
    age = time.time() - max((os.lstat(f"{path}/{name}").st_mtime for name in entries), default=0.0)
    if done or not entries or (older_than is not None and age > older_than):
        return [path]
    return [f"{path}/{name}" for name in entries if name.endswith(PARTIAL)]


def remove_locks(store: Store, *, dry_run: bool = False) -> int:
    """Remove the lock files that no live process holds; how many."""
    folder = f"{os.fspath(store.root)}/locks"
    count = 0
    for name in _keys(folder):
        path = f"{folder}/{name}"
        if dry_run:
            count += not held(path)
        elif (lock := Lock.take(path)) is not None:
            lock.release()
            count += 1
    return count


def _keys(folder: str) -> list[str]:
    """Names that begin with a key: others are not ours."""
    return [name for name in _names(folder) if is_digest(name.partition(".")[0])]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
