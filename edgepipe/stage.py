"""What the author of a stage imports: Stage, Context, ports, parameters and artifact types.

A stage is its parameters (pydantic fields) plus `Stage.run`. The file that holds it gives it
its kind: ``distill/logits.py`` in a package of stages, or below a project's ``plugins``
folder, is ``uses: distill.logits``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from edgepipe.artifact import Artifact, Folder, Metrics
from edgepipe.context import Context
from edgepipe.errors import Problem, StageError
from edgepipe.parameters import BaseModel, ConfigDict, Field
from edgepipe.units import Unit

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
