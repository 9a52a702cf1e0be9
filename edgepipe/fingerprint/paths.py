"""Which files a Python file may read that lie beside it, as far as its text tells."""

from __future__ import annotations

import ast
from dataclasses import astuple, dataclass
from typing import Any

from edgepipe.fingerprint.folders import HERE, THERE, is_join, looks
from edgepipe.fingerprint.lookups import GIVES, JOINS, LISTS, Lookups
from edgepipe.fingerprint.names import Package, pattern

_LOADS = {"SourceFileLoader", "exec", "run_path", "spec_from_file_location"}
_IMPORTS = {"__import__", "import_module"}
_RESOURCES = {"resources", "importlib_resources", "pkgutil"}
_HANDLES = LISTS | JOINS | {"dirname", "join", "parent", "parents"}


@dataclass(frozen=True)
class Paths:
    """Where a file looks for others, and what it may call them."""

    up: int = -1
    """It looks beside itself, so many folders up; -1: it does not."""
    resources: bool = False
    """It reads files of packages."""
    loads: bool = False
    """It runs files of code by their paths."""
    imports: bool = False
    """It imports files of code by their names."""
    reads_code: bool = False
    """It reads files of code, such as itself, as text."""
    computed: bool = False
    """It finds out names of files while running."""
    handed: tuple[str, ...] = ()
    """Modules of which it takes a folder, to find out names of files in it."""
    higher: int = 0
    """So many folders it goes up from a folder that another file gave it."""
    texts: tuple[str, ...] = ()
    """Its constant texts: names of files are among these."""

    def plain(self) -> Any:
        """As plain data."""
        return list(astuple(self))

    @classmethod
    def of_plain(cls, value: Any) -> Paths:
        """What `plain` gave, also after a way through JSON."""
        parts: list[Any] = [tuple(part) if isinstance(part, list) else part for part in value]
        return cls(*parts)

    @classmethod
    def of(cls, tree: ast.Module, words: set[str], package: Package) -> Paths:
        """Read a file in which these names and attributes occur."""
        resources = bool(words & _RESOURCES and words & (GIVES | {"files"}))
        loads = bool(words & _LOADS)
        places = words & (HERE | THERE)
        finds = resources or loads or (bool(places) and any(map(looks, ast.walk(tree))))
        if not finds and not words & _HANDLES and not any(map(is_join, ast.walk(tree))):
            return cls(texts=tuple(sorted(_texts(tree))))
        lookups = Lookups(tree, resources)
        return cls(
            up=lookups.up() if finds else -1,
            resources=resources,
            loads=loads,
            imports=bool(words & _IMPORTS),
            reads_code=finds and lookups.reads_code(),
            computed=finds and lookups.computes(),
            handed=() if finds else tuple(sorted(lookups.handed(package))),
            higher=0 if finds else lookups.higher(),
            texts=tuple(sorted(_texts(tree) | lookups.short())),
        )


def _texts(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.JoinedStr | ast.BinOp):
            found.add(pattern(node, ()))
    return {text for text in found if _may_name(text)}


def _may_name(text: str) -> bool:
    """Whether a text may be the name of a file: a sentence is none."""
    return (
        1 < len(text) < 200 and text.count(" ") < 4 and "\n" not in text and text.strip("*") != ""
    )
