"""Laying a tree out in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable

from edgepipe.errors import StoreError
from edgepipe.store.model import File, Tree


def lay_out(tree: Tree, folder: str, place: Callable[[File, str], None]) -> None:
    """Make each file of a tree below a folder by ``place(file, path)``.

    Raises:
        StoreError: the tree names a file outside the folder, before anything is placed.
    """
    targets = [(file, _inside(tree, folder, file)) for file in tree.files]
    os.makedirs(folder, exist_ok=True)
    for parent in sorted({target.rpartition("/")[0] for _, target in targets} - {folder}):
        os.makedirs(parent, exist_ok=True)
    for file, target in targets:
        place(file, target)


def _inside(tree: Tree, folder: str, file: File) -> str:
    parts = file.path.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in file.path:
        raise StoreError(f"the object {tree.digest[:12]} names a file outside: {file.path!r}")
    return f"{folder}/{file.path}"
