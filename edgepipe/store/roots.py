"""What gc must keep: the records that live runs, the last runs and pins hold."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.errors import ConfigError
from edgepipe.holding import held
from edgepipe.store.files import explained, read, write_all
from edgepipe.store.valid import is_digest

if TYPE_CHECKING:
    from edgepipe.store import Store

KEEP_RUNS = 5
"""Runs of each pipeline of a project whose records are kept."""


class RunRoot:
    """What a run uses: keys, and the trees that it found under them, since another run may put
    other outputs under the same key. It holds them while it lives, and as one of the last runs.
    """

    def __init__(self, store: Store, handle: int, path: str = "") -> None:
        self.path = path
        self._store = store
        self._handle = handle
        self._keys: set[str] = set()

    @classmethod
    def start(cls, store: Store, run_id: str, project: Path, pipeline: str) -> RunRoot:
        """Begin a run's root. Raises OSError where the disk is full."""
        if not store.writable:
            return cls(store, -1)
        folder = _folder(store)
        os.makedirs(folder, exist_ok=True)
        path, handle = _new_file(f"{folder}/{_safe(run_id)}")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            head = {
                "run": run_id,
                "project": os.fspath(project),
                "pipeline": pipeline,
                "pid": os.getpid(),
                "started": time.time(),
            }
            write_all(handle, json.dumps(head).encode() + b"\n")
        except BaseException:
            os.close(handle)
            os.unlink(path)
            raise
        return cls(store, handle, path)

    def add(self, *keys: str) -> None:
        """Hold the records of these keys, or trees by their digests; called within `Store.using`,
        together with the look-up or the publication. Raises StoreError where the disk is full.
        """
        new = [key for key in dict.fromkeys(keys) if key not in self._keys]
        if new and self._handle >= 0:
            with explained(self._store.root):
                write_all(self._handle, "".join(f"{key}\n" for key in new).encode())
        self._keys.update(new)

    def close(self) -> None:
        """The run is over; again is no error."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


def hold_again(store: Store, run_id: str, project: Path, pipeline: str, keys: Iterable[str]) -> str:
    """Hold what a run used, keys and trees, that is the answer to another one; its root's path.

    Its own may be gone: dropped by a gc that kept the records, in another cache, or of the place
    that the project was moved from.

    Raises:
        StoreError: the disk is full.
    """
    folder = _folder(store)
    for name in _names(folder):
        if name == run_id or name.startswith(f"{run_id}."):
            with contextlib.suppress(OSError):
                head = _head(read(f"{folder}/{name}").partition(b"\n")[0])
                if head.get("project") == os.fspath(project):
                    return f"{folder}/{name}"
    root = store.root_of_run(run_id, project, pipeline)
    with store.using():
        root.add(*keys)
    root.close()
    return root.path


@dataclass(frozen=True)
class Root:
    """A run's root as it is found on disk."""

    path: str
    run: str
    project: str
    pipeline: str
    started: float
    live: bool
    keys: frozenset[str]
    """Of records, and the digests of trees."""

    @property
    def gone(self) -> bool:
        """Whether the run was removed, or its project."""
        return not os.path.isdir(f"{self.project}/.edgepipe/runs/{self.run}")


def all_roots(store: Store) -> Iterator[Root]:
    """The roots of all runs; an empty one is a root without keys, and no other file is one."""
    folder = _folder(store)
    for name in _names(folder):
        path = f"{folder}/{name}"
        if os.path.isdir(path):
            continue
        live = held(path)
        head, _, rest = b"", b"", b""
        with contextlib.suppress(OSError):
            head, _, rest = read(path).partition(b"\n")
        value = _head(head)
        if head and "run" not in value:
            continue
        keys = frozenset(key for key in rest.decode("latin-1").split("\n") if is_digest(key))
        yield Root(
            path,
            str(value.get("run", name)),
            str(value.get("project", "")),
            str(value.get("pipeline", "")),
            _number(value.get("started")),
            live,
            keys,
        )


def sort_out(roots: list[Root], keep_runs: int = KEEP_RUNS) -> tuple[list[Root], list[Root]]:
    """Roots that hold, and those that do no longer."""
    kept, dropped = [], []
    seen: dict[tuple[str, str], int] = {}
    for root in sorted(roots, key=lambda root: (root.started, root.run), reverse=True):
        family = (root.project, root.pipeline)
        if root.live:
            kept.append(root)
        elif root.gone or seen.get(family, 0) >= keep_runs:
            dropped.append(root)
        else:
            seen[family] = seen.get(family, 0) + 1
            kept.append(root)
    return kept, dropped


def drop_old(store: Store, many: int = 200) -> None:
    """Where many roots have piled up, remove those that hold nothing any longer."""
    if len(_names(_folder(store))) < many:
        return
    with store.clearing(), contextlib.suppress(OSError):
        for root in sort_out(list(all_roots(store)))[1]:
            os.unlink(root.path)


def pin(store: Store, key: str, name: str) -> None:
    """Keep a key's record for good. Raises ConfigError where there is none."""
    with store.using(), explained(store.root):
        if store.record(key, whole=False) is None:
            raise ConfigError(f"no record has the key {key[:12]}", "edgepipe cache ls lists all")
        folder = f"{_folder(store)}/pins"
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/{key}"
        Path(path).write_text(json.dumps({"name": name, "time": time.time()}), encoding="utf-8")


def unpin(store: Store, key: str) -> bool:
    """Stop keeping a key's record; whether it was pinned."""
    with store.using(), explained(store.root):
        try:
            os.unlink(f"{_folder(store)}/pins/{key}")
        except FileNotFoundError:
            return False
    return True


def pins(store: Store) -> dict[str, str]:
    """Key → name of all that is pinned."""
    folder = f"{_folder(store)}/pins"
    found = {}
    for key in filter(is_digest, _names(folder)):
        with contextlib.suppress(OSError):
            found[key] = str(_head(read(f"{folder}/{key}")).get("name", ""))
    return found


def _new_file(wanted: str) -> tuple[str, int]:
    """A new file to append to. Two projects may by chance have runs of one name."""
    path, number = wanted, 1
    while True:
        with contextlib.suppress(FileExistsError):
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        number += 1
        path = f"{wanted}.{number}"


def _folder(store: Store) -> str:
    return f"{os.fspath(store.root)}/roots"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _head(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(body)
        if isinstance(value, dict):
            return value
    return {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, float | int) else 0.0


def _safe(name: str) -> str:
    if "/" in name or name in {"", ".", "..", "pins"} or name.startswith("."):
        raise ConfigError(f"'{name}' cannot be a run's id")
    return name
