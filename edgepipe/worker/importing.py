"""Tells when modules that stay in this process are imported, from those that are imported anew."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Importing:
    """A finder before all others: it finds nothing of its own, and stands around what they load.

    Args:
        stays: whether a module, by its name and file, stays after the job.
        around: entered while such a module runs, and all that it imports.
    """

    def __init__(
        self, stays: Callable[[str, str], bool], around: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._stays = stays
        self._around = around
        self._thread = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the others find."""
        if getattr(self._thread, "within", False):
            return None
        self._thread.within = True
        try:
            spec = self._found(name, path, target)
        finally:
            self._thread.within = False
        if spec is not None and spec.origin and self._stays(name, spec.origin):
            self._stand_around(spec.loader)
        return spec

    def _found(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is not self and find is not None:
                spec: ModuleSpec | None = find(name, path, target)
                if spec is not None:
                    return spec
        return None

    def _stand_around(self, loader: Any) -> None:
        run = getattr(loader, "exec_module", None)
        if run is None or isinstance(loader, type):
            # Of Python itself.
            return

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            self._thread.within = True
            try:
                with self._around():
                    run(module)
            finally:
                self._thread.within = False

        with suppress(AttributeError):
            loader.exec_module = exec_module
