"""Where Python finds a top-level module: among what is installed, or elsewhere."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path

_INSTALLED = tuple(
    {
        Path(os.path.realpath(sysconfig.get_path(name)))
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    | {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def is_installed(path: Path) -> bool:
    """Whether a folder is one of installed packages, or in one."""
    return any(path.is_relative_to(place) for place in _INSTALLED)


def found_installed(top: str) -> bool:
    """Whether Python finds a module, not its own, among what is installed."""
    return (spec := _spec(top)) is not None and is_installed(_root(spec))


def loose_root(top: str) -> Path | None:
    """The folder of a module that Python finds and no distribution has put there."""
    spec = _spec(top)
    if spec is None or is_installed(_root(spec)):
        return None
    if not spec.submodule_search_locations and not str(spec.origin).endswith(".py"):
        return None
    return _root(spec)


def _root(spec: ModuleSpec) -> Path:
    """The folder from which a module is imported."""
    locations = list(spec.submodule_search_locations or ())
    return Path(locations[0] if locations else str(spec.origin)).parent


def _spec(top: str) -> ModuleSpec | None:
    if top in sys.stdlib_module_names or not top.isidentifier():
        return None
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
