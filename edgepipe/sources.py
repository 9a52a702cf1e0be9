"""The user's own files and code that parameters name: found, checked and digested."""

from __future__ import annotations

import importlib.util
import os
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from edgepipe.errors import ConfigError, Problem
from edgepipe.filestate import FileState, tree_digest
from edgepipe.fingerprint import Fingerprints
from edgepipe.stage import SourceCode, SourcePath, Stage
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
    code: Mapping[str, str]
    """``FILE:DEFINITION`` → digest, of the user's code that parameters name."""
    paths: tuple[Path, ...]
    """The user's files and folders."""


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
    plain = stage.model_dump(mode="json", by_alias=True)
    worker = stage.model_dump(mode="json", by_alias=True)
    contents: dict[str, str] = {}
    code: dict[str, str] = {}
    paths: list[Path] = []
    for loc, marker, value in marked(stage):
        found = _find(marker, str(value), tree.at(loc), root)
        if isinstance(found, Problem):
            raise ConfigError(found)
        if isinstance(marker, SourcePath):
            contents[".".join(map(str, loc))] = tree_digest(files.tree(Path(found.text)))
            paths.append(Path(found.text))
            _replace(plain, loc, None)
        else:
            if found.file is not None:
                code |= fingerprints.of(found.file, root)
            _replace(plain, loc, found.text)
        _replace(worker, loc, found.text)
    return Resolved(plain, worker, contents, code, tuple(paths))


def missing(stage: Stage, tree: Node, root: Path) -> Iterator[Problem]:
    """What a stage's parameters name and is not there, each with its place; see `resolve`."""
    for loc, marker, value in marked(stage):
        found = _find(marker, str(value), tree.at(loc), root)
        if isinstance(found, Problem):
            yield found


@dataclass(frozen=True)
class _Found:
    """What a parameter names: as the worker is given it, and the file of code below the root."""

    text: str
    file: Path | None = None


def _find(marker: SourcePath | SourceCode, value: str, node: Node, root: Path) -> _Found | Problem:
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
        return _Found(f"{prefix}{inside.as_posix()}:{name}", root / inside)
    base = root.joinpath(*parts)
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return _Found(value, file)
    if importlib.util.find_spec(parts[0]) is None:
        hint = f"it is neither below {root} nor installed"
        return Problem(f"there is no module {place}", hint, node.where)
    return _Found(value)


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


def _leaves(value: Any, loc: Loc) -> Iterator[tuple[Loc, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*loc, name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, (*loc, number))
    else:
        yield loc, value


def _marker(annotation: Any, metadata: typing.Iterable[Any] = ()) -> SourcePath | SourceCode | None:
    for item in metadata:
        if isinstance(item, SourcePath | SourceCode):
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
