"""The user's own files and code that parameters name: found, checked and digested."""

from __future__ import annotations

import functools
import importlib.util
import os
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from edgepipe.dumping import dumped
from edgepipe.errors import ConfigError, Problem
from edgepipe.filestate import FileState, Seen, tree_digest
from edgepipe.fingerprint import NOTHING, Fingerprints, Reached, together
from edgepipe.masking import NAME
from edgepipe.project import Project
from edgepipe.stage import SecretName, SourceCode, SourcePath, Stage
from edgepipe.watch import TreeStamp
from edgepipe.yamltree import Node

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Resolved:
    """A stage's parameters, ready for the key and for the worker."""

    for_key: Mapping[str, Any]
    """Paths are left out: their content stands in ``contents``."""
    for_worker: Mapping[str, Any]
    """Paths are absolute; code is named relative to the project."""
    contents: Mapping[str, str]
    """Dotted parameter → digest of the files it names."""
    reached: Reached
    """What the user's code that parameters name depends on."""
    paths: tuple[Path, ...]
    """The user's files and folders."""
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Dotted parameter → file below it → digest of its content."""
    stamps: Mapping[str, TreeStamp] = field(default_factory=dict)
    """Dotted parameter → what tells whether a file below it is written."""
    secrets: tuple[str, ...] = ()
    """Environment variables that hold secrets of the stage; no part of its key."""


def resolve(
    stage: Stage, tree: Node, root: Path, files: FileState, fingerprints: Fingerprints
) -> Resolved:
    """Find what a stage's parameters name.

    Args:
        stage: the parameters.
        tree: the same as written; a relative path starts at the file in which it is written.
        root: the project's folder.
        files: digests of files.
        fingerprints: digests of code.

    Raises:
        ConfigError: something that is named is not there, with its place.
    """
    plain = dumped(stage)
    if not _may_be_marked(type(stage)):
        return Resolved(plain, plain, {}, NOTHING, ())
    worker = dumped(stage)
    seen: dict[str, Seen] = {}
    code: list[Reached] = []
    paths: list[Path] = []
    secrets: list[str] = []
    for loc, marker, value in marked(stage):
        found = _find(marker, str(value), tree.at(loc), root)
        if isinstance(found, Problem):
            raise ConfigError(found)
        if isinstance(marker, SecretName):
            secrets.append(found.text)
            _replace(plain, loc, None)
            continue
        if isinstance(marker, SourcePath):
            seen[".".join(map(str, loc))] = files.look(Path(found.text))
            paths.append(Path(found.text))
            _replace(plain, loc, None)
        else:
            code += _reached(found, root, fingerprints)
            _replace(plain, loc, found.text)
        _replace(worker, loc, found.text)
    return Resolved(
        plain,
        worker,
        {name: tree_digest(found.files) for name, found in seen.items()},
        together(*code) if code else NOTHING,
        tuple(paths),
        {name: found.files for name, found in seen.items()},
        {name: found.stamp for name, found in seen.items()},
        tuple(secrets),
    )


def _reached(found: _Found, root: Path, fingerprints: Fingerprints) -> Iterator[Reached]:
    """What the code that a parameter names depends on."""
    if found.file is not None:
        yield fingerprints.reach(found.file, root, found.name)
    elif found.module:
        places = fingerprints.modules.files_of(found.module, root)
        for path, base in places:
            yield fingerprints.reach(path, base, found.name)
        if not places:
            yield Reached({}, frozenset({found.module.partition(".")[0]}))


def unkept(stage: Stage) -> list[str]:
    """The parameters that are others once a worker has read them: the key would not be theirs."""
    try:
        again = type(stage).model_validate_json(stage.model_dump_json(by_alias=True))
    except ValidationError as error:
        return list(dict.fromkeys(".".join(map(str, e["loc"])) or "it" for e in error.errors()))
    if again == stage:
        return []
    names = [n for n in type(stage).model_fields if getattr(again, n) != getattr(stage, n)]
    return names or ["it"]


def missing(stage: Stage, tree: Node, root: Path) -> Iterator[Problem]:
    """What a stage's parameters name and is not there, each with its place; see `resolve`."""
    for loc, marker, value in marked(stage):
        found = _find(marker, str(value), tree.at(loc), root)
        if isinstance(found, Problem):
            yield found


def written_by_runs(stage: Stage, tree: Node, project: Project) -> Iterator[Problem]:
    """Parameters that name a folder in which runs write: it would change while it is read."""
    if not _may_be_marked(type(stage)):
        return
    elsewhere = "name a folder without it, or another one for the cache: --cache, EDGEPIPE_CACHE"
    places = (
        (project.cache, "the cache", elsewhere),
        (project.state.parent, "what runs leave", "name a folder without it"),
    )
    for loc, marker, value in marked(stage):
        found = _find(marker, str(value), tree.at(loc), project.root)
        if not isinstance(marker, SourcePath) or isinstance(found, Problem):
            continue
        folder = Path(found.text).resolve()
        for place, what, hint in places:
            if place.resolve().is_relative_to(folder):
                name = ".".join(map(str, loc))
                message = f"'{name}' would change while it is read: {what} is in it, {place}"
                yield Problem(message, hint, tree.at(loc).where)


@dataclass(frozen=True)
class _Found:
    """What a parameter names: as the worker is given it, and the file of code below the root."""

    text: str
    file: Path | None = None
    module: str = ""
    name: str = ""
    """Of the code that is named, in the file or the module."""


_Marker = SourcePath | SourceCode | SecretName


def _find(marker: _Marker, value: str, node: Node, root: Path) -> _Found | Problem:
    if isinstance(marker, SecretName):
        if NAME.fullmatch(value):
            return _Found(value)
        hint = "name a variable, such as HF_TOKEN: a secret is never written into a pipeline"
        # The line may show the secret: it is left out.
        where = replace(node.where, text="")
        return Problem("this is no name of an environment variable", hint, where)
    folder = Path(node.source.name).absolute().parent
    if isinstance(marker, SourceCode):
        return _code(marker.prefix, value, folder, root, node)
    path = Path(os.path.normpath(folder / value))
    if path.exists():
        return _Found(str(path))
    return Problem(f"there is no {value}", f"it is sought relative to {folder}", node.where)


def _code(prefix: str, value: str, folder: Path, root: Path, node: Node) -> _Found | Problem:
    """A reference relative to the project, and the file that it leads to there, if any."""
    if not value.startswith(prefix):
        return _Found(value)
    text = value.removeprefix(prefix)
    place, _, name = text.rpartition(":")
    is_file = place.endswith(".py")
    parts = place.split(".")
    if not name.isidentifier() or not (is_file or all(part.isidentifier() for part in parts)):
        hint = f"write {prefix}FILE.py:NAME or {prefix}MODULE:NAME"
        return Problem(f"'{text}' names no code", hint, node.where)
    if is_file:
        path = Path(os.path.normpath(folder / place))
        if not path.is_file():
            hint = f"it is sought relative to {folder}"
            return Problem(f"there is no file {place}", hint, node.where)
        real, home = path.resolve(), root.resolve()
        if not real.is_relative_to(home):
            hint = f"code that a pipeline names is below {root}"
            return Problem(f"{place} is outside the project", hint, node.where)
        inside = real.relative_to(home)
        return _Found(f"{prefix}{inside.as_posix()}:{name}", root / inside, "", name)
    base = root.joinpath(*parts)
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return _Found(value, file, "", name)
    if importlib.util.find_spec(parts[0]) is None:
        hint = f"it is neither below {root} nor installed"
        return Problem(f"there is no module {place}", hint, node.where)
    return _Found(value, None, place, name)


def marked(model: BaseModel, loc: Loc = ()) -> Iterator[tuple[Loc, Any, Any]]:
    """Every (location, marker, value) among the parameters that names files or code."""
    for name, info in type(model).model_fields.items():
        value, place = getattr(model, name), (*loc, info.alias or name)
        marker = _marker(info.annotation, info.metadata)
        for inner, leaf in _leaves(value, place):
            if isinstance(leaf, BaseModel):
                yield from marked(leaf, inner)
            elif marker is not None and leaf is not None:
                yield inner, marker, leaf


@functools.cache
def _may_be_marked(model: type[BaseModel]) -> bool:
    """Whether a parameter of such a model, or of one in it, can name files or code."""
    waiting: list[Any] = [model]
    known: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) in known:
            continue
        known.add(id(part))
        if isinstance(part, type) and issubclass(part, BaseModel):
            for info in part.model_fields.values():
                if _marker(info.annotation, info.metadata) is not None:
                    return True
                waiting.append(info.annotation)
        waiting += typing.get_args(part)
        # What may be anything may be a model.
        if part is Any or part is BaseModel:
            return True
    return False


def _leaves(value: Any, loc: Loc) -> Iterator[tuple[Loc, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*loc, name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, (*loc, number))
    else:
        yield loc, value


def _marker(annotation: Any, metadata: typing.Iterable[Any] = ()) -> _Marker | None:
    for item in metadata:
        if isinstance(item, _Marker):
            return item
    for argument in typing.get_args(annotation):
        found = _marker(argument, getattr(argument, "__metadata__", ()))
        if found is not None:
            return found
    return None


def _replace(plain: Any, loc: Loc, value: Any) -> None:
    for part in loc[:-1]:
        plain = plain[part]
    plain[loc[-1]] = value
