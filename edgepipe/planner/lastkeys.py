"""The key that each node of a pipeline had last: only for saying what changed."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from edgepipe.replacing import replace


class LastKeys:
    """One file for all pipelines of a project; losing it loses explanations only."""

    def __init__(self, path: Path, pipeline: str) -> None:
        self.path = path
        self.pipeline = pipeline
        self.damaged = False
        """The file was there and could not be used."""
        self._changed = False
        self._keys: dict[str, str] = self._of(self._read())

    def get(self, node: str) -> str | None:
        """The last key of a node, if it is known."""
        key = self._keys.get(node)
        return key if isinstance(key, str) else None

    def set(self, node: str, key: str) -> None:
        """Remember a node's key; `save` writes it."""
        self._changed |= self._keys.get(node) != key
        self._keys[node] = key

    def save(self) -> None:
        """Write by one rename; a full disk or a read-only folder is no error here."""
        if not self._changed and not self.damaged:
            return
        # Another run may have saved another pipeline's since.
        everything = self._read() | {self.pipeline: self._keys}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace(os.fspath(self.path), json.dumps(everything).encode())
            self._changed = False

    def _read(self) -> dict[str, Any]:
        try:
            value = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            value = None
        if not isinstance(value, dict):
            self.damaged = True
            return {}
        return value

    def _of(self, everything: dict[str, Any]) -> dict[str, str]:
        keys = everything.get(self.pipeline, {})
        if not isinstance(keys, dict):
            self.damaged = True
            return {}
        return dict(keys)
