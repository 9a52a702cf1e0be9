"""All that the author of a stage has to read: Stage, Context, ports and artifact types.

A stage is its parameters (pydantic fields) plus `Stage.run`. The file that holds it gives it
its kind: ``distill/logits.py`` in a package of stages, or below a project's ``plugins``
folder, is ``uses: distill.logits``.
"""

from __future__ import annotations

import json
import math
import os
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from edgepipe.errors import Problem, StageError
from edgepipe.parameters import BaseModel, ConfigDict, Field
from edgepipe.units import Unit
from edgepipe.usercode import import_user_object

__all__ = [
    "Artifact",
    "Context",
    "Field",
    "Folder",
    "Metric",
    "Metrics",
    "Params",
    "Port",
    "Problem",
    "Secret",
    "Stage",
    "StageError",
    "UserCode",
    "UserPath",
    "optional",
]


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


@dataclass(frozen=True)
class Metric:
    """What a number means. ``unit`` is one of `edgepipe.units.UNITS`: values are in base units."""

    unit: Unit
    meaning: str


@dataclass(frozen=True)
class Port:
    """An input: its artifact type, and whether a pipeline may leave it open."""

    type: type[Artifact]
    optional: bool = False


def optional(type_: type[Artifact]) -> Port:
    """An input that a pipeline may leave open; ``ctx.input(port)`` then gives None."""
    return Port(type_, optional=True)


@dataclass(frozen=True)
class SourcePath:
    """Marks a parameter that names the user's file or folder; its content enters the key."""


@dataclass(frozen=True)
class SourceCode:
    """Marks a parameter that names the user's code, ``FILE.py:NAME`` or ``MODULE:NAME``.

    The code that it reaches enters the key. With a ``prefix``, only values that begin with it
    name code.
    """

    prefix: str = ""


@dataclass(frozen=True)
class SecretName:
    """Marks a parameter that names an environment variable with a secret.

    `Context.secret` gives the value, which is in no key, record, report or log.
    """


UserPath = Annotated[Path, SourcePath()]
UserCode = Annotated[str, SourceCode()]
Secret = Annotated[str, SecretName()]


class Params(BaseModel):
    """A group of parameters: unknown names and numbers that are not finite are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class Stage(Params):
    """One step of a pipeline. Fields are its parameters; `run` does the work.

    A subclass states its contract in class attributes. Modules that are slow to import
    (torch, tensorflow) are imported inside `run`.
    """

    inputs: ClassVar[Mapping[str, type[Artifact] | Port]] = {}
    """Input ports by name."""
    outputs: ClassVar[Mapping[str, type[Artifact]]] = {}
    """Output ports by name."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Distributions that `run` uses; their installed versions enter the key."""
    metrics: ClassVar[Mapping[str, Metric]] = {}
    """The numbers that its Metrics outputs hold at the top level; gates may name them."""
    measures: ClassVar[bool] = False
    """It measures time or memory: it runs alone, and the machine enters its key."""
    seeded: ClassVar[bool] = True
    """It uses ``ctx.seed``, which therefore enters its key."""
    cpus: ClassVar[int] = 1
    """How many threads it keeps busy; 0: all of the machine."""
    environment: ClassVar[str | None] = None
    """The locked environment that it runs in; None: edgepipe's own. See docs/environments.md."""
    gpus: ClassVar[int] = 0
    """How many GPUs it uses; it sees no others."""
    memory: ClassVar[int] = 0
    """Bytes that it takes at most, so that nodes side by side fit; 0: it does not say."""

    def needs(self) -> tuple[str, ...]:
        """The distributions that it requires with these parameters."""
        return self.requires

    @abstractmethod
    def run(self, ctx: Context) -> None:
        """Read inputs from ``ctx``, write every output.

        Raises:
            StageError: for a reason that the user can act on.
        """

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        """Find what is wrong before anything runs.

        Args:
            connected: the input ports that the pipeline connects.

        Returns:
            (parameter, message, hint) for each problem; the parameter is dotted, or empty.
        """
        return ()


def ports_of(stage: type[Stage]) -> dict[str, Port]:
    """A stage's inputs, each as a `Port`."""
    return {
        name: port if isinstance(port, Port) else Port(port) for name, port in stage.inputs.items()
    }


Report = Callable[[str, dict[str, Any]], None]
"""Where a context sends what happens: the event's name and its data."""


@dataclass
class Context:
    """Everything that a running stage may touch."""

    node: str
    """The node's name in the pipeline."""
    seed: int
    """Seeds every random generator that the stage uses."""
    threads: int
    """How many threads it may keep busy."""
    scratch_path: Path
    project: Path
    """The project's folder: the user's code is imported from here."""
    input_types: Mapping[str, type[Artifact]]
    output_types: Mapping[str, type[Artifact]]
    input_paths: Mapping[str, Path]
    """Of the connected inputs."""
    output_paths: Mapping[str, Path]
    report: Report = field(default=lambda name, data: None, repr=False)

    @property
    def scratch(self) -> Path:
        """A folder that survives a kill: checkpoints go here. Emptied when the node is done."""
        self.scratch_path.mkdir(parents=True, exist_ok=True)
        return self.scratch_path

    def input(self, port: str) -> Any:
        """The value of an input, loaded; None for an optional one that is not connected."""
        path = self.path(port)
        return None if path is None else self.input_types[port].load(path)

    def path(self, port: str) -> Path | None:
        """The read-only folder of an input; None for one that is not connected."""
        return self.input_paths.get(port)

    def output(self, port: str) -> Path:
        """The empty folder whose content becomes the output."""
        return self.output_paths[port]

    def save(self, port: str, value: Any) -> None:
        """Write ``value`` as the output ``port``, in the way of its artifact type."""
        self.output_types[port].save(self.output_paths[port], value)

    def user_object(self, reference: str) -> Any:
        """The user's function or class that a `UserCode` parameter names.

        Args:
            reference: ``FILE.py:NAME``, the file relative to the project, or ``MODULE:NAME``.

        Raises:
            StageError: there is no such file, module or name, or importing it failed.
        """
        return import_user_object(reference, self.project)

    def secret(self, name: str) -> str:
        """The value of the environment variable that a `Secret` parameter names.

        Raises:
            StageError: it is not set.
        """
        value = os.environ.get(name, "")
        if not value:
            hint = "set it where edgepipe runs: its value is in no key, record, report or log"
            raise StageError(f"the environment variable {name} is not set", hint)
        return value

    def log(self, message: str) -> None:
        """A line for the node's log."""
        self.report("log", {"message": message})

    def warn(self, message: str) -> None:
        """A line for the node's log that the user also sees on the screen."""
        self.report("warning", {"message": message})

    def progress(self, done: float, total: float, **numbers: float) -> None:
        """How far the stage is, with numbers worth showing (``loss=0.1, accuracy=0.98``)."""
        self.report("progress", {"done": done, "total": total, "numbers": numbers})

    def rng(self) -> random.Random:
        """A generator of its own, seeded with `seed`."""
        return random.Random(self.seed)
