"""Which files a Python file may read that lie beside it, as far as its text tells."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, TypeGuard

from edgepipe.fingerprint.names import Package, imports_of, last, pattern
from edgepipe.fingerprint.values import Values

HOME = 99
"""So many folders up as there are."""

_HERE = {"__file__", "__path__", "__spec__", "__cached__", "__loader__"}
_THERE = {
    "co_filename",
    "getabsfile",
    "getfile",
    "getsourcefile",
    "submodule_search_locations",
}
_LOADS = {"SourceFileLoader", "exec", "run_path", "spec_from_file_location"}
_RESOURCES = {"resources", "importlib_resources", "pkgutil"}
_LISTS = {"iterdir", "glob", "iglob", "rglob", "listdir", "scandir", "walk"}
_JOINS = {"joinpath", "with_name", "with_stem", "with_suffix"}
_HANDLES = _LISTS | _JOINS | {"dirname", "join", "parent", "parents"}
_GIVES = {"get_data", "open_binary", "open_text", "path", "read_binary", "read_text"}
_ENDS = {"exists", "len", "load", "loads", "read", "read_bytes", "read_text", "splitlines"}
"""What these give is no path any more."""


@dataclass(frozen=True)
class Paths:
    """Where a file looks for others, and what it may call them."""

    up: int = -1
    """It looks beside itself, so many folders up; -1: it does not."""
    resources: bool = False
    """It reads files of packages."""
    loads: bool = False
    """It runs files of code by their paths."""
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
        resources = bool(words & _RESOURCES and words & (_GIVES | {"files"}))
        loads = bool(words & _LOADS)
        places = words & (_HERE | _THERE)
        looks = resources or loads or (bool(places) and any(map(_looks, ast.walk(tree))))
        if not looks and not words & _HANDLES and not any(map(_divides, ast.walk(tree))):
            return cls(texts=tuple(sorted(_texts(tree))))
        folders = _Folders(tree, resources)
        return cls(
            up=folders.up() if looks else -1,
            resources=resources,
            loads=loads,
            computed=looks and folders.computes(),
            handed=() if looks else tuple(sorted(folders.handed(package))),
            higher=0 if looks else folders.higher(),
            texts=tuple(sorted(_texts(tree))),
        )


def _looks(node: ast.AST) -> bool:
    """Whether it gives the place of a file of code."""
    if isinstance(node, ast.Attribute | ast.Name) and not isinstance(node.ctx, ast.Load):
        return False
    return last(node) in _HERE | _THERE or (isinstance(node, ast.alias) and node.name in _THERE)


def _divides(node: ast.AST) -> bool:
    return isinstance(node, ast.Div)


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


class _Folders(Values):
    """How its expressions lead from the file to folders."""

    def __init__(self, tree: ast.Module, resources: bool) -> None:
        super().__init__(tree)
        names = {"files", *(new for new, old in self.aliases.items() if old == "files")}
        self._gives = names if resources else set()
        self._depths: dict[str, int | None] = {}

    def up(self) -> int:
        """How many folders above its own it looks for files."""
        found = [self._depth(node) for node in self.nodes if isinstance(node, ast.expr)]
        return max([0, *(depth - 1 for depth in found if depth is not None)])

    def _depth(self, node: ast.expr) -> int | None:
        """How far up from the file a path leads; None for what is no such path."""
        own = 0
        if isinstance(node, ast.Name):
            return 0 if node.id in _HERE else self._depth_of(node.id)
        parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        if isinstance(node, ast.Attribute):
            if _looks(node):
                return HOME
            own = int(node.attr == "parent")
            named = self._depth_of(node.attr)
            if named is not None:
                return min(HOME, named + own)
        elif isinstance(node, ast.Subscript):
            if last(node.value) == "parents":
                own = self._number(node.slice) + 1
        elif isinstance(node, ast.Call):
            if last(node.func) in _THERE:
                return HOME
            if last(node.func) in self._gives:
                return 1
            if last(node.func) in _ENDS:
                return None
            own = int(last(node.func) == "dirname")
            parts += [keyword.value for keyword in node.keywords]
        found = [depth for part in parts if (depth := self._depth(part)) is not None]
        if not found:
            return None
        return min(HOME, max(found) + own + sum(map(self._dots, parts)))

    def _depth_of(self, name: str) -> int | None:
        if name not in self._depths:
            self._depths[name] = None
            found = [d for v in self.values.get(name, ()) if (d := self._depth(v)) is not None]
            if found:
                # Again, since it may be bound to what is above itself.
                self._depths[name] = max(found)
                again = max(self._depth(v) or 0 for v in self.values[name])
                self._depths[name] = max(found) if again == max(found) else HOME
        return self._depths[name]

    def _number(self, node: ast.expr) -> int:
        values = self.values.get(last(node), [node])
        numbers = [getattr(value, "value", None) for value in values]
        return max(n if isinstance(n, int) and n >= 0 else HOME for n in numbers)

    def _dots(self, node: ast.expr) -> int:
        """How often a text says "the folder above"."""
        if last(node) == "pardir":
            return 1
        if isinstance(node, ast.Name):
            return max((self._dots(v) for v in self.values.get(node.id, ())), default=0)
        value = getattr(node, "value", None)
        return value.split("/").count("..") if isinstance(value, str) else 0

    def computes(self) -> bool:
        """Whether it may find out names of files beside itself while running."""
        return any(
            self._depth(folder) is not None and not known for folder, known in self._lookups()
        )

    def handed(self, package: Package) -> set[str]:
        """Modules of which it takes a folder, to find out names of files in it."""
        lookups = [folder for folder, known in self._lookups() if not known]
        if not lookups:
            return set()
        modules = {i.local: i.module for i in imports_of(self.tree, package, deep=True)}
        roots = {self._root(folder) for folder in lookups}
        return {modules[root] for root in roots if root in modules}

    def _root(self, node: ast.expr, seen: frozenset[str] = frozenset()) -> str:
        """The name that a path begins with."""
        while not isinstance(node, ast.Name):
            inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
                inner = node.args
            if not inner:
                return ""
            node = inner[0]
        values = self.values.get(node.id, ())
        if values and node.id not in seen:
            return self._root(values[0], seen | {node.id})
        return node.id

    def higher(self) -> int:
        """How often in a row it takes the folder above."""
        chains = [0]
        for node in self.nodes:
            if isinstance(node, ast.Attribute) and node.attr == "parent":
                chain = itertools.takewhile(lambda n: last(n) == "parent", _inner(node))
                chains.append(sum(1 for _ in chain))
            elif last(node) == "dirname":
                chains.append(1)
            elif isinstance(node, ast.Subscript) and last(node.value) == "parents":
                chains.append(self._number(node.slice) + 1)
        return max(chains)

    def _lookups(self) -> Iterator[tuple[ast.expr, bool]]:
        """Each use of a folder, and whether it is known which files of it are meant.

        One part of a path is enough: what it names counts, with all below it.
        """
        whole = {id(n.left) for n in self.nodes if _is_join(n) and self.known(n.right)}
        for node in self.nodes:
            if _is_join(node) and id(node) not in whole:
                yield node.left, self.known(node.right) or self._is_within(node.left)
            elif isinstance(node, ast.JoinedStr):
                named = bool(pattern(node, ()).strip("*./"))
                yield from (
                    (n.value, named) for n in node.values if isinstance(n, ast.FormattedValue)
                )
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
                named = bool(pattern(node, ()).strip("*./"))
                yield from (
                    (side, named) for side in (node.left, node.right) if "/" in pattern(node, ())
                )
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, name, given = node.func.value, node.func.attr, node.args
                if name in _GIVES and self._gives and len(given) > 1:
                    yield ast.Name("__file__"), self.known(given[1])
                if name == "joinpath":
                    yield owner, any(map(self.known, given)) or self._is_within(owner)
                elif name in _JOINS:
                    yield owner, all(map(self.known, given))
                elif name == "join" and len(given) > 1:
                    yield given[0], any(map(self.known, given[1:])) or self._is_within(given[0])
                elif name in _LISTS:
                    named = any(map(self.names, [owner, *given]))
                    yield from ((folder, named) for folder in [owner, *given[:1]])
            elif isinstance(node, ast.Call) and last(node.func) in _LISTS | {"join"} and node.args:
                yield node.args[0], any(map(self.names, node.args))

    def _is_within(self, folder: ast.expr, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a folder is one that a text names."""
        while _is_join(folder):
            if pattern(folder.right, ()).strip("*./"):
                return True
            folder = folder.left
        values = self.values.get(last(folder), ()) if isinstance(folder, ast.Name) else ()
        if not values or last(folder) in seen | self.free:
            return False
        return all(self._is_within(value, seen | {last(folder)}) for value in values)


def _is_join(node: ast.AST) -> TypeGuard[ast.BinOp]:
    """``folder / name``; any other division too."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)


def _inner(node: ast.AST) -> Iterator[ast.AST]:
    while isinstance(node, ast.Attribute):
        yield node
        node = node.value
