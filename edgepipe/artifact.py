"""Artifacts: what stages hand to one another, as folders of files."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from edgepipe.errors import StageError


class Artifact(ABC):
    """A type of artifact: how a value becomes a folder of files, and back.

    An artifact is data. ``load`` never runs code that the artifact brings along, so nothing is
    ever pickled. Subclassing says what fits where: an output fits an input of the same type or
    of a base of it.
    """

    payload: ClassVar[str | None] = None
    """The one file whose bytes are the artifact's ``size``; None: all files together."""

    @classmethod
    @abstractmethod
    def save(cls, path: Path, value: Any) -> None:
        """Write ``value`` into the empty folder ``path``."""

    @classmethod
    @abstractmethod
    def load(cls, path: Path) -> Any:
        """Read back what `save` wrote. Raises StageError where the files are not valid."""

    @classmethod
    def check(cls, path: Path) -> None:
        """Raise StageError unless ``path`` holds a valid artifact. Cheap: called after each run."""
        if cls.payload is not None and not (path / cls.payload).is_file():
            raise StageError(f"{cls.__name__}: {cls.payload} was not written")
        if not any(file.is_file() for file in path.rglob("*")):
            raise StageError(f"{cls.__name__}: no file was written")


class Folder(Artifact):
    """Any files. ``save`` is not needed: write into ``ctx.output(port)``; ``load`` gives the path."""

    @classmethod
    def save(cls, path: Path, value: Any) -> None:
        raise StageError(
            "a Folder is written file by file", "write into the folder ctx.output(port)"
        )

    @classmethod
    def load(cls, path: Path) -> Path:
        return path


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        # An integer beyond the largest float.
        return False


class Metrics(Artifact):
    """Numbers that a stage found: a JSON object.

    Numbers at the top level are the node's metrics, which gates and reports read. Anything
    deeper (curves, tables) is for reports.
    """

    payload = "metrics.json"

    @classmethod
    def save(cls, path: Path, value: Any) -> None:
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=True)
        (path / "metrics.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> dict[str, Any]:
        try:
            value = json.loads((path / "metrics.json").read_bytes())
        except ValueError as error:
            raise StageError(f"Metrics: metrics.json is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise StageError("Metrics: metrics.json does not hold an object")
        return value

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        for name, value in cls.numbers(path).items():
            if not _is_finite(value):
                raise StageError(
                    f"metric '{name}' is {str(value)[:20]}",
                    "a number that is not finite is never cached: look for the step that made it"
                    " (a learning rate that is too high, an empty split)",
                )

    @classmethod
    def numbers(cls, path: Path) -> dict[str, float]:
        """The numbers at the top level, by name."""
        return {
            name: value
            for name, value in cls.load(path).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
