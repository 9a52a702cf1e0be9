"""Where a Python file uses folders, and whether it says which files of them it means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from edgepipe.fingerprint.folders import Folders, is_join
from edgepipe.fingerprint.names import Package, imports_of, last, pattern

LISTS = {
    "chdir",
    "copytree",
    "fwalk",
    "glob",
    "iglob",
    "iterdir",
    "listdir",
    "rglob",
    "scandir",
    "walk",
}
JOINS = {"joinpath", "with_name", "with_stem", "with_suffix"}
GIVES = {"get_data", "open_binary", "open_text", "path", "read_binary", "read_text"}
_MAKES = {"Path", "PosixPath", "PurePath", "PurePosixPath", "join"}
"""These join what they are given."""
_FILLS = {"format", "format_map", "safe_substitute", "substitute"}
_WILD = re.compile(r"\[[^\]]*\]|[*?.]")
SHORT = 3
"""A text with fewer characters names a folder only where it is used as a part of a path."""


def letters(text: str) -> int:
    """How many characters of a pattern are written out."""
    return len(_WILD.sub("", text))


class Lookups(Folders):
    """What a file looks up in folders."""

    def computes(self) -> bool:
        """Whether it may find out names of files beside itself while running."""
        return any(
            self.depth(folder) is not None and not known for folder, known in self._lookups()
        )

    def handed(self, package: Package) -> set[str]:
        """Modules of which it takes a folder, to find out names of files in it."""
        lookups = [folder for folder, known in self._lookups() if not known]
        if not lookups:
            return set()
        modules = {i.local: i.module for i in imports_of(self.tree, package, deep=True)}
        roots = {self._root(folder) for folder in lookups}
        return {modules[root] for root in roots if root in modules}

    def short(self) -> set[str]:
        """Short texts that are parts of paths, each as one."""
        waiting: list[ast.AST] = []
        for node in self.nodes:
            if is_join(node):
                waiting.append(node.right)
            elif isinstance(node, ast.Call) and last(node.func) in LISTS | JOINS | GIVES | {"join"}:
                waiting += node.args
        found: set[str] = set()
        seen: set[str] = set()
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Constant | ast.JoinedStr):
                text = pattern(node, ())
                if 0 < letters(text) < SHORT and "/" not in text:
                    found.add(f"./{text}")
            elif isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                waiting += self.values.get(node.id, ())
            waiting += ast.iter_child_nodes(node)
        return found

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

    def _lookups(self) -> Iterator[tuple[ast.expr, bool]]:
        """Each use of a folder, and whether it is known which files of it are meant.

        One part of a path is enough: what it names counts, with all below it.
        """
        whole = {id(n.left) for n in self.nodes if is_join(n) and self.known(n.right)}
        sums = [n for n in self.nodes if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Add)]
        inner = {id(side) for node in sums for side in (node.left, node.right)}
        for node in self.nodes:
            if is_join(node) and id(node) not in whole:
                yield node.left, self.known(node.right) or self._is_within(node.left)
            elif isinstance(node, ast.JoinedStr):
                named = bool(pattern(node, ()).strip("*./"))
                yield from (
                    (n.value, named) for n in node.values if isinstance(n, ast.FormattedValue)
                )
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
                named = bool(pattern(node, ()).strip("*./"))
                if id(node) not in inner and self._separates(node):
                    yield from ((side, named) for side in (node.left, node.right))
            elif isinstance(node, ast.Call):
                yield from self._by_call(node)

    def _separates(self, node: ast.expr) -> bool:
        """Whether a text has parts of a path."""
        return "/" in pattern(node, ()) or any(self.is_up(n) for n in ast.walk(node))

    def _by_call(self, node: ast.Call) -> Iterator[tuple[ast.expr, bool]]:
        name, given = self.aliases.get(last(node.func), last(node.func)), node.args
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name in GIVES and self.gives and len(given) > 1 and owner is not None:
            yield ast.Name("__file__"), self.known(given[1])
        starred = any(isinstance(part, ast.Starred) for part in given)
        if name in _MAKES and (len(given) > 1 or starred):
            yield from self._joined(given[0], given[1:])
        elif name == "join" and given and owner is not None:
            # A text between the parts of a path.
            text = getattr(owner, "value", "/")
            if not isinstance(text, str) or not text.strip("/"):
                parts = given[0].elts if isinstance(given[0], ast.List | ast.Tuple) else given
                first, *rest = [part for part in parts if not self.is_up(part)] or given
                yield from self._joined(first, rest)
        elif name in LISTS:
            folders = [*([] if owner is None else [owner]), *given[:1]]
            folders += [keyword.value for keyword in node.keywords]
            named = any(map(self.names, [*folders, *given]))
            yield from ((folder, named) for folder in folders)
        elif name == "load_library":
            # Of `numpy.ctypeslib`: it puts an ending to the name, which the system decides.
            folders = [*given[1:], *(k.value for k in node.keywords if k.arg == "loader_path")]
            yield from ((folder, self._is_within(folder)) for folder in folders)
        elif owner is None:
            return
        elif name == "joinpath":
            yield from self._joined(owner, given)
        elif name in JOINS:
            yield owner, all(map(self.known, given))
        elif name in _FILLS:
            text = pattern(node, ()) if name == "format" else ""
            named = bool(text.strip("*./"))
            yield from ((value, named) for value in (*given, *(k.value for k in node.keywords)))

    def _joined(self, folder: ast.expr, given: list[ast.expr]) -> Iterator[tuple[ast.expr, bool]]:
        names = [part for part in given if not self.is_up(part)]
        if names or not given:
            yield folder, any(map(self.known, names)) or self._is_within(folder)

    def _is_within(self, folder: ast.expr, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a folder is one that a text names."""
        while parts := _parts(folder):
            folder, *names = parts
            if any(pattern(name, ()).strip("*./") for name in names):
                return True
        values = self.values.get(last(folder), ()) if isinstance(folder, ast.Name) else ()
        if not values or last(folder) in seen | self.free:
            return False
        return all(self._is_within(value, seen | {last(folder)}) for value in values)


def _parts(path: ast.expr) -> list[ast.expr]:
    """What a path is joined of; nothing for any other expression."""
    if is_join(path):
        return [path.left, path.right]
    if isinstance(path, ast.Call) and last(path.func) in _MAKES | {"joinpath"}:
        if isinstance(path.func, ast.Attribute) and last(path.func) == "joinpath":
            return [path.func.value, *path.args]
        return path.args
    return []
