"""How the expressions of a Python file lead from it to folders."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeGuard

from edgepipe.fingerprint.names import last
from edgepipe.fingerprint.values import Values

HOME = 99
"""So many folders up as there are."""

HERE = {"__file__", "__path__", "__spec__", "__cached__", "__loader__"}
THERE = {
    "co_filename",
    "getabsfile",
    "getfile",
    "getsourcefile",
    "submodule_search_locations",
}
_ENDS = {"exists", "len", "load", "loads", "open", "read", "read_bytes", "read_text", "splitlines"}
"""What these give is no path any more."""
_SAME = {
    "Path",
    "PurePath",
    "abspath",
    "absolute",
    "as_posix",
    "expanduser",
    "fspath",
    "normpath",
    "realpath",
    "resolve",
    "str",
}
"""What these give leads where what they are given leads."""
_PATHS = _SAME | {"dirname", "join", "joinpath", "relpath", "with_name", "with_suffix"}
_CUTS = {
    "commonpath",
    "commonprefix",
    "match",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rpartition",
    "rsplit",
    "search",
    "split",
    "sub",
}
"""Of what these leave of a path, only the code that runs knows how far up it leads."""
_READS = {
    "copy",
    "copy2",
    "copyfile",
    "digest_file",
    "open",
    "read_bytes",
    "read_text",
    "run_path",
}


@dataclass
class _Leading:
    """What leads to some places: the names of values, and of calls that are given one."""

    calls: set[str]
    steps: bool
    """Whether what is found from such a place is meant too."""
    names: set[str] = field(default_factory=set)


def looks(node: ast.AST) -> bool:
    """Whether it gives the place of a file of code."""
    if isinstance(node, ast.Attribute | ast.Name) and not isinstance(node.ctx, ast.Load):
        return False
    return last(node) in HERE | THERE or (isinstance(node, ast.alias) and node.name in THERE)


def is_join(node: ast.AST) -> TypeGuard[ast.BinOp]:
    """``folder / name``; any other division too."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)


class Folders(Values):
    """How the expressions of a file lead from it to folders.

    Args:
        tree: the file.
        resources: whether it reads files of packages.
    """

    def __init__(self, tree: ast.Module, resources: bool) -> None:
        super().__init__(tree)
        names = {"files", *(new for new, old in self.aliases.items() if old == "files")}
        self.gives = names if resources else set()
        """What it calls for the folder of a package."""
        self._depths: dict[str, int | None] = {}
        self._counted = {
            id(node.value)
            for node in self.nodes
            if isinstance(node, ast.Subscript) and last(node.value) == "parents"
        }
        """Each ``parents`` of which a certain one is taken."""

    def up(self) -> int:
        """How many folders above its own it looks for files."""
        found = [self.depth(node) for node in self.nodes if isinstance(node, ast.expr)]
        return max([0, *(depth - 1 for depth in found if depth is not None)])

    def higher(self) -> int:
        """How often in a row it takes the folder above."""
        chains = [0]
        for node in self.nodes:
            if isinstance(node, ast.Attribute) and node.attr == "parent":
                chain = itertools.takewhile(lambda n: last(n) == "parent", _inner(node))
                chains.append(sum(1 for _ in chain))
            elif isinstance(node, ast.Attribute) and self._is_any_above(node):
                chains.append(HOME)
            elif last(node) == "dirname":
                chains.append(1)
            elif isinstance(node, ast.Subscript) and last(node.value) == "parents":
                chains.append(self._number(node.slice) + 1)
        return max(chains)

    def reads_code(self) -> bool:
        """Whether it reads a file of code whose place it asks for, such as itself."""
        return any(
            last(node.func) in _READS and any(map(self._is_code, _given(node)))
            for node in self.nodes
            if isinstance(node, ast.Call)
        )

    def depth(self, node: ast.expr) -> int | None:
        """How far up from the file a path leads; None for what is no such path."""
        own = 0
        if isinstance(node, ast.Name):
            return 0 if node.id in HERE else self._depth_of(node.id)
        parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        if isinstance(node, ast.Attribute):
            if looks(node):
                return HOME
            own = HOME if self._is_any_above(node) else int(node.attr == "parent")
            named = self._depth_of(node.attr)
            if named is not None:
                return min(HOME, named + own)
        elif isinstance(node, ast.Subscript):
            if last(node.value) == "parents":
                own = self._number(node.slice) + 1
        elif isinstance(node, ast.Call):
            if last(node.func) in THERE:
                return HOME
            if last(node.func) in self.gives:
                return 1
            if last(node.func) in _ENDS:
                return None
            own = int(last(node.func) == "dirname" or _is_path_split(node))
            parts += [keyword.value for keyword in node.keywords]
        if self._is_cut(node):
            own = HOME
        found = [depth for part in parts if (depth := self.depth(part)) is not None]
        if not found:
            return None
        return min(HOME, max(found) + own + sum(map(self._dots, parts)))

    def _depth_of(self, name: str) -> int | None:
        if name not in self._depths:
            self._depths[name] = None
            found = [d for v in self.values.get(name, ()) if (d := self.depth(v)) is not None]
            if found:
                # Again, since it may be bound to what is above itself.
                self._depths[name] = max(found)
                again = max(self.depth(v) or 0 for v in self.values[name])
                self._depths[name] = max(found) if again == max(found) else HOME
        return self._depths[name]

    def _is_any_above(self, node: ast.Attribute) -> bool:
        return node.attr == "parents" and id(node) not in self._counted

    def _is_cut(self, node: ast.expr) -> bool:
        """Whether it takes a piece of a path that leads somewhere above."""
        if isinstance(node, ast.Attribute):
            return node.attr == "parts" and self._is_path(node.value)
        if isinstance(node, ast.Subscript):
            end = node.slice.upper if isinstance(node.slice, ast.Slice) else None
            # What is counted from the end is a suffix.
            known = end is None or not any(
                isinstance(n, ast.Call | ast.Name) for n in ast.walk(end)
            )
            return not known and self._is_path(node.value)
        if not isinstance(node, ast.Call) or last(node.func) not in _CUTS or _is_path_split(node):
            return False
        first = getattr(node.args[0], "value", None) if node.args else None
        if isinstance(first, str) and first.startswith("."):
            return False
        return any(map(self._is_path, _given(node)))

    def _is_path(self, node: ast.expr) -> bool:
        """Whether it is the place of a file of code, or one found from there, as it stands."""
        return self._leads(node, self._paths)

    def _is_code(self, node: ast.expr) -> bool:
        """Whether it is the place of a file of code itself."""
        return self._leads(node, self._code)

    @cached_property
    def _paths(self) -> _Leading:
        return self._leading(_PATHS, steps=True)

    @cached_property
    def _code(self) -> _Leading:
        return self._leading(_SAME, steps=False)

    def _leading(self, calls: set[str], *, steps: bool) -> _Leading:
        leading, known = _Leading(calls, steps), -1
        while len(leading.names) > known:
            known = len(leading.names)
            for name, values in self.values.items():
                if name not in leading.names and any(self._leads(v, leading) for v in values):
                    leading.names.add(name)
        return leading

    def _leads(self, node: ast.expr, to: _Leading) -> bool:
        if looks(node) or last(node) in to.names:
            return True
        parts: list[ast.expr] = []
        if isinstance(node, ast.Call):
            if last(node.func) in THERE | to.names:
                return True
            parts = _given(node) if last(node.func) in to.calls else []
        elif isinstance(node, ast.List | ast.Tuple | ast.Starred | ast.IfExp):
            parts = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
        elif to.steps and isinstance(node, ast.Attribute | ast.Subscript):
            if not isinstance(node, ast.Attribute) or node.attr in {"parent", "parents"}:
                parts = [node.value]
        elif to.steps and isinstance(node, ast.BinOp):
            parts = [node.left]
        return any(self._leads(part, to) for part in parts)

    def _number(self, node: ast.expr) -> int:
        values = self.values.get(last(node), [node])
        numbers = [getattr(value, "value", None) for value in values]
        return max(n if isinstance(n, int) and n >= 0 else HOME for n in numbers)

    def _dots(self, node: ast.expr) -> int:
        """How often a text says "the folder above"."""
        waiting, seen, found = [node], set(), 0
        while waiting:
            part = waiting.pop()
            value = getattr(part, "value", None)
            if last(part) == "pardir":
                found = max(found, 1)
            elif isinstance(part, ast.Name) and part.id not in seen:
                seen.add(part.id)
                waiting += self.values.get(part.id, ())
            elif isinstance(value, str):
                found = max(found, value.split("/").count(".."))
        return found


def _given(node: ast.Call) -> list[ast.expr]:
    """What a call is about: its arguments, and what it is a method of."""
    owner = [node.func.value] if isinstance(node.func, ast.Attribute) else []
    return [*owner, *node.args, *(keyword.value for keyword in node.keywords)]


def _is_path_split(node: ast.Call) -> bool:
    """``os.path.split(path)``, and not that of a text."""
    if last(node.func) != "split" or not node.args:
        return False
    return not isinstance(node.func, ast.Attribute) or last(node.func.value) == "path"


def _inner(node: ast.AST) -> Iterator[ast.AST]:
    while isinstance(node, ast.Attribute):
        yield node
        node = node.value
