"""Importing the user's own code: files by their path, and what a reference names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from edgepipe.errors import StageError, did_you_mean


def import_user_object(reference: str, project: Path) -> Any:
    """The user's function or class that a reference names; see `Context.user_object`.

    Raises:
        StageError: there is no such file, module or name, or importing it failed.
    """
    module_name, _, name = reference.rpartition(":")
    if not module_name or not name:
        raise StageError(f"'{reference}' names no code", "write FILE.py:NAME or MODULE:NAME")
    for folder in (str(project), str((project / module_name).parent)):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        if module_name.endswith(".py"):
            path = project / module_name
            unique = "edgepipe_user_" + "_".join(path.with_suffix("").parts[1:])
            module = import_file(path, unique)
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
