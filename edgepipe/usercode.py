"""Importing the user's own code: files by their path, and what a reference names.

Folders of the user's may hold modules of the same name. Code gets that of its own folder, whatever
was imported before.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from edgepipe.errors import StageError, did_you_mean

PACKAGE = "edgepipe_plugin"
"""Stands before the names of plug-ins among the modules; there is no such package."""
_folders: list[str] = []
"""Of the user's, in ``sys.path`` in this order."""


def import_user_object(reference: str, project: Path) -> Any:
    """The user's function or class that a reference names; see `Context.user_object`.

    Raises:
        StageError: there is no such file, module or name, or importing it failed.
    """
    module_name, _, name = reference.rpartition(":")
    if not module_name or not name:
        raise StageError(f"'{reference}' names no code", "write FILE.py:NAME or MODULE:NAME")
    prefer(project, (project / module_name).parent)
    try:
        if module_name.endswith(".py"):
            path = project / module_name
            digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]
            module = import_file(path, f"edgepipe_user_{path.stem}_{digest}")
        else:
            module = importlib.import_module(module_name)
    except Exception as error:
        raise StageError(
            f"importing {module_name} failed: {type(error).__name__}: {error}",
            f"try: python -c 'import {Path(module_name).stem}' in {project}",
        ) from error
    if not hasattr(module, name):
        names = [n for n in vars(module) if not n.startswith("_")]
        raise StageError(f"{module_name} has no '{name}'", did_you_mean(name, names, "it has"))
    return getattr(module, name)


def import_plugin(path: Path, name: str, root: Path) -> ModuleType:
    """Import the file of a stage below a project's folder of plug-ins. Raises what it raises."""
    prefer(root)
    return import_file(path, f"{PACKAGE}.{name}")


def start(folders: Sequence[Path]) -> None:
    """Let modules be found in folders of plug-ins, and in none that were asked for before."""
    sys.path[:] = [entry for entry in sys.path if entry not in _folders]
    _folders.clear()
    prefer(*folders)


def prefer(*folders: Path) -> None:
    """Let modules be found in these folders before all others of the user's.

    Those of the same name that were imported from another folder are forgotten; who has them
    keeps them.
    """
    own = [os.fspath(folder) for folder in folders]
    others = [folder for folder in _folders if folder not in own]
    sys.path[:] = [entry for entry in sys.path if entry not in _folders and entry not in own]
    _folders[:] = own + others
    sys.path += _folders
    for folder in own:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder):  # noqa: PTH208
                name = entry.removesuffix(".py")
                if others and (module := sys.modules.get(name)) is not None:
                    found = file_of(module)
                    if any(found.startswith(f"{other}/") for other in others) and not (
                        found.startswith(f"{folder}/")
                    ):
                        forget(name)


def forget(name: str) -> None:
    """Let a module and those below it be imported anew."""
    for known in [known for known in sys.modules if known == name or known.startswith(f"{name}.")]:
        del sys.modules[known]


def file_of(module: ModuleType) -> str:
    """A module's file, or the folder of a package without one; empty where it has none."""
    try:
        # To ask a lazy module for an attribute would load it.
        known = object.__getattribute__(module, "__dict__")
        file = known.get("__file__")
        return file if isinstance(file, str) else str(next(iter(known.get("__path__", ())), ""))
    except (AttributeError, TypeError):
        return ""


def import_file(path: Path, name: str) -> ModuleType:
    """Import a file as the module ``name``, once. Raises whatever the file raises."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def drop_stale_bytecode(path: Path) -> None:
    """Remove a file's compiled form where Python would wrongly take it for current.

    Python compares size and seconds only: an edit within a second, or one whose time stamp was
    put back, would run the code from before it.
    """
    with contextlib.suppress(OSError, NotImplementedError):
        compiled = Path(importlib.util.cache_from_source(str(path)))
        source, cached = path.stat(), compiled.stat()
        if cached.st_ctime_ns > source.st_ctime_ns:
            return
        with compiled.open("rb") as file:
            head = file.read(16)
        is_same = [int.from_bytes(head[i : i + 4], "little") for i in (4, 8, 12)] == [
            0,
            int(source.st_mtime) & 0xFFFFFFFF,
            source.st_size & 0xFFFFFFFF,
        ]
        if is_same:
            compiled.unlink()
