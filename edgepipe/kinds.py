"""Finds stages by their kind, by listing files: only the kinds that are used are imported.

A package of stages is named by an entry point in the group ``edgepipe.stages``; a project's own
stages are the files below its ``plugins`` folder. ``FAMILY/NAME.py`` holds the kind
``FAMILY.NAME``; names that begin with ``_`` are helpers.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import linecache
import re
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import ModuleType

from edgepipe.errors import ConfigError, Problem, Where
from edgepipe.stage import Artifact, Metric, Port, Stage
from edgepipe.units import UNITS
from edgepipe.usercode import PACKAGE, drop_stale_bytecode, import_plugin, prefer

GROUP = "edgepipe.stages"
_MAPPINGS = ("inputs", "outputs", "metrics")
_PORT = re.compile(r"\w[\w-]*")
_NUMBERS = ("cpus", "gpus", "memory")


@dataclass(frozen=True)
class Kind:
    """A kind and the file that holds its stage."""

    name: str
    path: Path
    root: Path
    """The folder from which its code is imported."""
    module: str
    """Dotted name of the module, below ``root``."""
    plugin: bool
    """It belongs to the user's project."""

    @cached_property
    def stage(self) -> type[Stage]:
        """The stage's class, imported now.

        Raises:
            ConfigError: the file does not import, or does not hold exactly one stage.
        """
        try:
            # What it prints is not part of the answer that a verb gives, as with --json.
            with contextlib.redirect_stdout(sys.stderr):
                module = load_module(self.module, self.path, self.root, self.plugin)
        except (Exception, SystemExit) as error:
            raise ConfigError(self._import_problem(error)) from error
        classes = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, Stage)
            and value.__module__ == module.__name__
            and not value.__name__.startswith("_")
        ]
        if len(classes) != 1:
            names = ", ".join(c.__name__ for c in classes) or "none"
            message = f"'{self.name}': {self.path.name} holds {len(classes)} stages ({names})"
            hint = "one file holds one subclass of edgepipe.stage.Stage; helpers begin with '_'"
            raise ConfigError(Problem(message, hint, Where(str(self.path), 1, 1)))
        if problems := list(_contract_problems(classes[0])):
            where = Where(str(self.path), 1, 1)
            what = f"the stage '{self.name}' declares"
            raise ConfigError([Problem(f"{what} {said}", hint, where) for said, hint in problems])
        return classes[0]

    def _import_problem(self, error: BaseException) -> Problem:
        """What went wrong, at the line of this file that led to it."""
        frames = traceback.extract_tb(error.__traceback__)
        what = f"{type(error).__name__}: {error}".split("\n")[0]
        if isinstance(error, SyntaxError) and error.filename:
            what, raised = f"SyntaxError: {error.msg}", f"{error.filename}:{error.lineno}"
        else:
            below = [f for f in frames if Path(f.filename).is_relative_to(self.root)]
            raised = f"{below[-1].filename}:{below[-1].lineno}" if below else ""
        where = Where(str(self.path), 1, 1)
        if isinstance(error, SyntaxError) and error.filename == str(self.path):
            text = (error.text or "").rstrip("\n")
            where = Where(str(self.path), error.lineno or 1, error.offset or 1, text)
        elif own := [frame for frame in frames if frame.filename == str(self.path)]:
            line = own[-1].lineno or 1
            text = linecache.getline(str(self.path), line).rstrip("\n")
            indent = len(text) - len(text.lstrip())
            where = Where(str(self.path), line, indent + 1, text, len(text) - indent)
        hint = f"edgepipe stages {self.name} --debug shows the traceback"
        if isinstance(error, ModuleNotFoundError) and error.name == PACKAGE:
            what = "a plug-in has no relative imports"
            helper = ".".join([*self.module.split(".")[:-1], "_helper"])
            hint = f"name the helper as seen from {self.root.name}/: from {helper} import NAME"
        elif isinstance(error, ModuleNotFoundError):
            hint = f"install {error.name}, or import it inside run()"
        elif raised and raised != f"{where.file}:{where.line}":
            hint = f"raised at {raised}"
        return Problem(f"the stage '{self.name}' does not import: {what}", hint, where)


def _contract_problems(stage: type[Stage]) -> Iterator[tuple[str, str]]:
    """(what is declared, hint) for each attribute that is not what `Stage` says of it."""
    wrong = [name for name in _MAPPINGS if not isinstance(getattr(stage, name), Mapping)]
    for name in wrong:
        yield f"{name} as {getattr(stage, name)!r}", f'write a mapping: {name} = {{"NAME": …}}'
    # A text is a row of names, too: of its letters.
    if isinstance(stage.requires, str) or not isinstance(stage.requires, Collection):
        hint = 'write a tuple of names, also for one: requires = ("numpy",)'
        yield f"requires as {stage.requires!r}", hint
    for name in _NUMBERS:
        number = getattr(stage, name)
        whole = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
        if not whole or number < 0:
            yield f"{name} as {number!r}", "write a whole number, at least 0"
    if inspect.isabstract(stage):
        yield "no run()", "write what it does into: def run(self, ctx: Context) -> None"
    if not wrong:
        yield from _port_problems(stage)


def _port_problems(stage: type[Stage]) -> Iterator[tuple[str, str]]:
    port = "name a class of artifact, like edgepipe.stage.Folder"
    for name in [*stage.inputs, *stage.outputs]:
        if not isinstance(name, str) or not _PORT.fullmatch(name):
            yield f"a port named {name!r}", "a port is a folder, and a word in NODE.PORT: a_b, a-b"
    for name, given in stage.inputs.items():
        if not _is_artifact(given.type if isinstance(given, Port) else given):
            yield f"the input '{name}' as {given!r}", f"{port}, or optional() of one"
    for name, type_ in stage.outputs.items():
        if not _is_artifact(type_):
            yield f"the output '{name}' as {type_!r}", port
    for name, metric in stage.metrics.items():
        if not isinstance(metric, Metric) or metric.unit not in UNITS:
            hint = f"write Metric(UNIT, MEANING) of edgepipe.stage; units: {', '.join(UNITS)}"
            yield f"the metric '{name}' as {metric!r}", hint


def _is_artifact(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Artifact)


@dataclass(frozen=True)
class Kinds:
    """All kinds within reach of a project."""

    plugins: Sequence[Path] = ()
    """Folders of the project's own stages."""

    @cached_property
    def all(self) -> dict[str, Kind]:
        """Every kind by name, in order. Raises ConfigError where two files hold one kind."""
        for folder in self.plugins:
            for path in folder.rglob("*.py"):
                drop_stale_bytecode(path)
        prefer(*self.plugins)
        found: dict[str, Kind] = {}
        problems = []
        listed = [kind for package in packages() for kind in _list(package, 2, plugin=False)]
        listed += [kind for folder in self.plugins for kind in _list(folder, 1, plugin=True)]
        for kind in listed:
            other = found.setdefault(kind.name, kind)
            if other is not kind:
                hint = "rename one of the files: a kind is its file's name"
                message = f"the kind '{kind.name}' is there twice, also in {other.path}"
                problems.append(Problem(message, hint, Where(str(kind.path), 1, 1)))
        if problems:
            raise ConfigError(problems)
        return dict(sorted(found.items()))

    def get(self, name: str, where: Where | None = None) -> Kind:
        """A kind by name. Raises ConfigError with the nearest one where there is none."""
        if name not in self.all:
            near = get_close_matches(name, self.all, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            hint += "edgepipe stages lists all kinds"
            if absent := [str(folder) for folder in self.plugins if not folder.is_dir()]:
                hint += f"; there is no folder {', '.join(absent)} with your own"
            raise ConfigError(Problem(f"unknown kind '{name}'", hint, where))
        return self.all[name]

    @cached_property
    def roots(self) -> tuple[Path, ...]:
        """Folders from which stages import each other's helpers."""
        return (*(package.parent for package in packages()), *self.plugins)


def packages() -> tuple[Path, ...]:
    """Folders of the installed packages of stages, found without importing them."""
    return _packages(tuple(sys.path))


@functools.cache
def _packages(path: tuple[str, ...]) -> tuple[Path, ...]:
    # A worker needs none of it: a tenth of its start.
    from importlib.metadata import entry_points

    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.value):
        spec = importlib.util.find_spec(entry.value)
        if spec is not None and spec.submodule_search_locations:
            found.append(Path(next(iter(spec.submodule_search_locations))))
    return tuple(dict.fromkeys(found))


def _list(folder: Path, least_depth: int, *, plugin: bool) -> list[Kind]:
    root = folder if plugin else folder.parent
    kinds = []
    for path in sorted(folder.glob("*.py")) + sorted(folder.glob("*/*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if len(parts) < least_depth or any(part.startswith("_") for part in parts):
            continue
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        kinds.append(Kind(".".join(parts), path, root, module, plugin))
    return kinds


def load_module(name: str, path: Path, root: Path, plugin: bool) -> ModuleType:
    """Import the module that holds a stage; a plug-in's gets a name that cannot clash."""
    if not plugin:
        return importlib.import_module(name)
    return import_plugin(path, name, root)
