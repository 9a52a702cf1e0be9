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
        node = tree.at(loc)
        folder = Path(node.source.name).absolute().parent
        if isinstance(marker, SourcePath):
            path = Path(os.path.normpath(folder / value))
            if not path.exists():
                hint = f"it is sought relative to {folder}"
                raise ConfigError(Problem(f"there is no {value}", hint, node.where))
            contents[".".join(map(str, loc))] = tree_digest(files.tree(path))
            paths.append(path)
            _replace(plain, loc, None)
            _replace(worker, loc, str(path))
        elif str(value).startswith(marker.prefix):
            text = str(value).removeprefix(marker.prefix)
            reference, path_or_none = _code(text, folder, root, node)
            if path_or_none is not None:
                code |= fingerprints.of(path_or_none, root)
            _replace(plain, loc, marker.prefix + reference)
            _replace(worker, loc, marker.prefix + reference)
    return Resolved(plain, worker, contents, code, tuple(paths))


def _code(text: str, folder: Path, root: Path, node: Node) -> tuple[str, Path | None]:
    """A reference relative to the project, and the file that it leads to there, if any."""
    place, _, name = text.rpartition(":")
    if not place or not name.isidentifier():
        hint = "write FILE.py:NAME or MODULE:NAME"
        raise ConfigError(Problem(f"'{text}' names no code", hint, node.where))
    if place.endswith(".py"):
        path = Path(os.path.normpath(folder / place))
        if not path.is_file():
            hint = f"it is sought relative to {folder}"
            raise ConfigError(Problem(f"there is no file {place}", hint, node.where))
        if not path.resolve().is_relative_to(root.resolve()):
            hint = f"code that a pipeline names is below {root}"
            raise ConfigError(Problem(f"{place} is outside the project", hint, node.where))
        return f"{path.relative_to(root).as_posix()}:{name}", path
    base = root.joinpath(*place.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return text, file
    if importlib.util.find_spec(place.split(".")[0]) is None:
        hint = f"it is neither below {root} nor installed"
        raise ConfigError(Problem(f"there is no module {place}", hint, node.where))
    return text, None


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
