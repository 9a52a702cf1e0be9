"""Laying a tree out in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from edgepipe.errors import StoreError
from edgepipe.store.model import File, Tree

_MANY = 256
"""Files from which threads are worth starting; the kernel does most of the work."""


def lay_out(tree: Tree, folder: str, place: Callable[[File, str], None], *, parallel: bool) -> None:
    """Make each file of a tree below a folder by ``place(file, path)``.

    Raises:
        StoreError: the tree names a file outside the folder, before anything is placed.
    """
    targets = [(file, _inside(tree, folder, file)) for file in tree.files]
    os.makedirs(folder, exist_ok=True)
    for parent in sorted({target.rpartition("/")[0] for _, target in targets}):
        os.makedirs(parent, exist_ok=True)
    if parallel and len(targets) >= _MANY:
        _in_threads(targets, place)
        return
    for file, target in targets:
        place(file, target)


def _inside(tree: Tree, folder: str, file: File) -> str:
    parts = file.path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in file.path:
        raise StoreError(f"the object {tree.digest[:12]} names a file outside: {file.path!r}")
    return f"{folder}/{file.path}"


def _in_threads(targets: Sequence[tuple[File, str]], place: Callable[[File, str], None]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    count = min(4, os.cpu_count() or 1)

    def some(start: int) -> None:
        for file, target in targets[start::count]:
            place(file, target)

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(some, start) for start in range(count)]:
            done.result()
