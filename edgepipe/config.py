"""Text → one tree: includes, ``--set`` overrides and variables. Every value knows its place."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepipe.errors import ConfigError, Problem, Where, did_you_mean
from edgepipe.variables import substitute
from edgepipe.yamlparse import parse, parse_value
from edgepipe.yamltree import Node, Source, kind_of

SECTIONS = ("edgepipe", "name", "description", "include", "vars", "seed", "stages", "gates")
NODE_FIELDS = (
    "uses",
    "in",
    "with",
    "matrix",
    "seed",
    "timeout",
    "retries",
    "cpus",
    "gpus",
    "env",
    "memory",
    "description",
)

_MAX_INCLUDES = 100


@dataclass(frozen=True)
class Config:
    """A pipeline's text, complete: included, overridden, with its variables in place."""

    path: Path
    root: Node
    files: tuple[Path, ...]
    """All files that were read, the pipeline first."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with overrides and variables, for the compiler to report with the rest."""
    unknown: frozenset[Where] = frozenset()
    """Places whose value a wrong variable leaves open."""


def load(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a pipeline.

    Args:
        path: the YAML file.
        overrides: ``PATH=VALUE`` texts from the command line.

    Raises:
        ConfigError: a file cannot be read, or is not YAML; with all such problems.
    """
    files: list[Path] = []
    root = _read(path, files, ())
    problems = [problem for text in overrides for problem in _override(root, text)]
    unknown: set[Where] = set()
    root = substitute(root, problems, unknown)
    read = tuple(dict.fromkeys(files))
    return Config(path, root, read, tuple(problems), frozenset(unknown))


def _read(path: Path, files: list[Path], chain: tuple[Path, ...], by: Node | None = None) -> Node:
    name = shown(path)
    where = by.where if by else None
    resolved = path.resolve()
    if resolved in chain:
        cycle = " → ".join(shown(p) for p in (*chain[chain.index(resolved) :], resolved))
        hint = "take one of these includes out"
        raise ConfigError(Problem(f"the file includes itself: {cycle}", hint, where))
    if len(files) >= _MAX_INCLUDES:
        raise ConfigError(
            Problem(f"more than {_MAX_INCLUDES} files are included", "merge some", where)
        )
    try:
        # Devices and pipes never end.
        if path.exists() and not path.is_file():
            raise ConfigError(Problem(f"{name} is no file", _neighbors(path), where))
        body = path.read_bytes()
    except OSError as error:
        message = f"{name} cannot be read: {(error.strerror or str(error)).lower()}"
        denied = isinstance(error, PermissionError)
        hint = f"let yourself read it: chmod u+r {name}" if denied else _neighbors(path)
        raise ConfigError(Problem(message, hint, where)) from None
    files.append(path)
    root = parse(_decoded(body, name), name)
    includes = root.value.get("include")
    if includes is None:
        return root
    merged: Node | None = None
    problems: list[Problem] = []
    for item in includes.value if isinstance(includes.value, list) else [includes]:
        if not isinstance(item.value, str):
            message = f"an include is a path, not {kind_of(item.value)}"
            problems.append(Problem(message, "write it relative to this file", item.where))
            continue
        try:
            part = _read(path.parent / item.value, files, (*chain, resolved), item)
        except ConfigError as error:
            problems += error.problems
            continue
        merged = part if merged is None else _merge(merged, part)
    if problems:
        raise ConfigError(problems)
    return root if merged is None else _merge(merged, root)


def _decoded(body: bytes, name: str) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = body[: error.start].decode(errors="replace")
        line, column = before.count("\n"), len(before) - (before.rfind("\n") + 1)
        place = Node(None, Source(name, body.decode(errors="replace")), line, column)
        message = f"this is not UTF-8 text: byte 0x{body[error.start]:02x}"
        raise ConfigError(Problem(message, "save the file as UTF-8", place.where)) from None


def shown(path: Path) -> str:
    """A path as a person would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") and path.is_absolute() else relative


def _neighbors(path: Path) -> str:
    try:
        names = [p.name for p in path.parent.iterdir() if p.suffix in {".yaml", ".yml"}]
    except OSError:
        return f"there is no folder {shown(path.parent)}"
    return did_you_mean(path.name, names, f"YAML files in {shown(path.parent)}")


def _merge(under: Node, over: Node) -> Node:
    """``over`` wins; mappings are merged key by key, lists of gates are joined."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    merged = Node(dict(under.value), over.source, over.line, over.column)
    merged.keys = {**(under.keys or {}), **(over.keys or {})}
    for name, item in over.value.items():
        base = merged.value.get(name)
        if base is None:
            merged.value[name] = item
        elif name == "gates" and isinstance(base.value, list) and isinstance(item.value, list):
            merged.value[name] = item.rebuilt(base.value + item.value)
        else:
            merged.value[name] = _merge(base, item)
    return merged.rebuilt(merged.value)


def _override(root: Node, text: str) -> list[Problem]:
    """Apply one ``PATH=VALUE`` in place; what is wrong with it."""
    source = Source("--set", text)
    dotted, equals, value = text.partition("=")
    place = Node(None, source, 0, 0, max(1, len(dotted)))
    if not equals:
        return [Problem(f"'{text}' has no '='", "write --set PATH=VALUE", place.where)]
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        # How Python passes on bytes of the command line that are no UTF-8.
        return [Problem("--set of what is not UTF-8 text", "write it as UTF-8", place.where)]
    path = dotted.strip().split(".")
    stages = root.value.get("stages")
    nodes = stages.value if stages is not None and isinstance(stages.value, dict) else {}
    if path[0] not in SECTIONS and path[0] in nodes:
        path = ["stages", *path]
    problem = _unknown_path(path, root, nodes, place)
    if problem:
        return [problem]
    node = root
    for name in path[:-1]:
        if not isinstance(node.value, dict):
            hint = f"'{dotted}' goes deeper than the pipeline does"
            return [Problem(f"'{name}' is in no mapping", hint, place.where)]
        if name not in node.value or node.value[name].value is None:
            node.value[name] = Node({}, source, 0, 0, keys={})
        child = node.value[name]
        # A copy, since an anchor may share the mapping with other nodes.
        if isinstance(child.value, dict):
            keys = dict(child.keys or {})
            node.value[name] = dataclasses.replace(child, value=dict(child.value), keys=keys)
        node = node.value[name]
    if not isinstance(node.value, dict):
        message = f"'{'.'.join(path[:-1])}' is {kind_of(node.value)}: nothing is set in it"
        return [Problem(message, "set the whole of it", place.where)]
    node.value[path[-1]] = parse_value(value, source, len(dotted) + 1)
    node.keys = {**(node.keys or {}), path[-1]: place}
    return []


def _unknown_path(
    path: list[str], root: Node, nodes: Mapping[str, Node], place: Node
) -> Problem | None:
    def unknown(name: str, what: str, choices: Sequence[str], label: str) -> Problem:
        message = f"--set of a path that is not there: {what} '{name}'"
        return Problem(message, did_you_mean(name, choices, label), place.where)

    head = path[0]
    if head not in SECTIONS:
        return unknown(head, "no section or node", [*SECTIONS, *nodes], "sections and nodes")
    if head == "vars":
        known = root.value.get("vars")
        names = list(known.value) if known is not None and isinstance(known.value, dict) else []
        if len(path) < 2 or path[1] not in names:
            return unknown(path[1] if len(path) > 1 else "", "no variable", names, "variables")
    if head == "stages":
        if len(path) < 3:
            hint = "write --set NODE.with.PARAMETER=VALUE"
            return Problem("--set of a whole node is not possible", hint, place.where)
        if path[1] not in nodes:
            return unknown(path[1], "no node", list(nodes), "nodes")
        if path[2] not in NODE_FIELDS:
            hint = f"for a parameter write {path[1]}.with.{path[2]}"
            message = f"--set of a path that is not there: a node has no '{path[2]}'"
            return Problem(message, hint, place.where)
    return None
