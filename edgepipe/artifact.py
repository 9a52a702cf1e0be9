"""Artifacts: what stages hand to one another, as folders of files."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgepipe.errors import StageError
from edgepipe.plaindata import DEEPEST, is_name, is_plain


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
        except (ValueError, RecursionError) as error:
            raise StageError(f"Metrics: metrics.json is not JSON: {error}") from error
        return cls.checked(value)

    @classmethod
    def checked(cls, value: Any) -> dict[str, Any]:
        """What metrics.json holds, if it can be metrics. Raises StageError."""
        if not isinstance(value, dict):
            raise StageError("Metrics: metrics.json does not hold an object")
        if not is_plain(value, finite=False):
            raise StageError(
                "Metrics: metrics.json holds text that is no Unicode, or is nested too deep",
                f"write valid text, and at most {DEEPEST} levels",
            )
        for name, number in _numbers(value).items():
            if not is_name(name):
                raise StageError(
                    f"the metric {name!a:.80} has no name that can be shown",
                    "a name is a short line of text without control characters",
                )
            if not _is_finite(number):
                raise StageError(
                    f"metric '{name}' is {str(number)[:20]}",
                    "a number that is not finite is never cached: look for the step that made it"
                    " (a learning rate that is too high, an empty split)",
                )
        return value

    @classmethod
    def check(cls, path: Path) -> None:
        super().check(path)
        cls.load(path)

    @classmethod
    def numbers(cls, path: Path) -> dict[str, float]:
        """The numbers at the top level, by name."""
        return _numbers(cls.load(path))


def _numbers(value: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: number
        for name, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool)
    }
