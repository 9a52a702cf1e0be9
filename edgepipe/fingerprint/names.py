"""Reads names out of Python's syntax trees: what code imports, and what it loads."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import warnings
from collections.abc import Iterator
from typing import NamedTuple

Package = tuple[str, ...]

FILLED = re.compile(r"\{[^{}]*\}|%[-+ #0-9.]*[a-zA-Z]")
"""Where a text is filled in by ``format`` and ``%``."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEEP = 8000
"""Calls that a syntax tree may take; many more would need more memory than a thread's stack has."""


@contextlib.contextmanager
def as_python_reads() -> Iterator[None]:
    """Let all be read that Python compiles: in a long chain of ``elif`` or ``+``, each part is nested
    in the one before.

    What Python warns of in code it says when that is imported; many a text is none.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEP))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.setrecursionlimit(limit)


class Import(NamedTuple):
    """One imported name. With ``attribute`` ``*``, all of the module is meant.

    A ``*`` in the module's name stands for what is known only when the code runs.
    """

    local: str
    module: str
    attribute: str


def last(node: ast.AST) -> str:
    """The last part of a name: ``c`` of ``a.b.c``; empty for what is none."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_typing_test(test: ast.expr) -> bool:
    """``if TYPE_CHECKING:``."""
    return last(test) == "TYPE_CHECKING"


def is_main_test(test: ast.expr) -> bool:
    """``if __name__ == "__main__":``."""
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, *test.comparators]
    values = {s.id if isinstance(s, ast.Name) else getattr(s, "value", None) for s in sides}
    return values == {"__name__", "__main__"}


def is_quiet_import(statement: ast.stmt) -> bool:
    """An import that does nothing but bind names: of the standard library, or the engine's."""
    if isinstance(statement, ast.Import):
        return all(_is_quiet(alias.name) for alias in statement.names)
    if isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        star = any(alias.name == "*" for alias in statement.names)
        return not star and _is_quiet(statement.module)
    return False


def _is_quiet(module: str) -> bool:
    top = module.partition(".")[0]
    return (top in sys.stdlib_module_names or top == "edgepipe") and top != "__future__"


def bound_names(body: list[ast.stmt]) -> Iterator[str]:
    """Every name that a module's statements bind in the module, once for each time."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            # What a function declares global is bound as often as it runs.
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    yield from [*inner.names, *inner.names]
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        if not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def imports_of(statement: ast.AST, package: Package, *, deep: bool) -> Iterator[Import]:
    """What a statement imports; ``deep``: also while functions in it run."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    yield Import(alias.asname, alias.name, "")
                else:
                    top = alias.name.partition(".")[0]
                    yield Import(top, top, "")
                    if top != alias.name:
                        yield Import("", alias.name, "")
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.module or "", node.level, package)
            for alias in node.names:
                yield Import(alias.asname or alias.name, base, alias.name)
        if deep or not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)


def absolute(module: str, level: int, package: Package) -> str:
    """The name of a module that is so many packages up."""
    if not level:
        return module
    above = package[: len(package) - level + 1] if level <= len(package) else ()
    return ".".join((*above, *([module] if module else [])))


def pattern(node: ast.expr | None, package: Package) -> str:
    """A text as far as it is written out, with ``*`` for what is not."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.FormattedValue) else v for v in node.values)
        return "".join(pattern(part, package) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return pattern(node.left, package) + pattern(node.right, package)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return FILLED.sub("*", pattern(node.left, package))
    if isinstance(node, ast.Call) and last(node.func) == "format":
        return FILLED.sub("*", pattern(getattr(node.func, "value", None), package))
    if isinstance(node, ast.Name) and node.id == "__package__":
        return ".".join(package)
    return "*"


def references(statement: ast.AST, bound: set[str], package: Package = ()) -> set[str]:
    """Dotted names that a statement loads and that its module, or an import in it, binds.

    A text that is such a name counts as one.
    """
    known = bound | {i.local for i in imports_of(statement, package, deep=True) if i.local}
    found: set[str] = set()
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if chain := dotted(node):
            found.add(chain)
            continue
        if isinstance(node, ast.Global):
            found.update(node.names)
        elif isinstance(node, ast.ClassDef):
            # What is imported in its body is found as an attribute.
            found |= {i.local for i in imports_of(node, package, deep=False)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if len(text) < 200 and any(name in text for name in known):
                waiting += _expression(text)
        waiting += ast.iter_child_nodes(node)
    return {name for name in found if name.partition(".")[0] in known}


def _expression(text: str) -> list[ast.AST]:
    """A text that is an expression, as forward references in annotations are."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return []
    # A constant in a text means nothing more.
    return [] if isinstance(tree, ast.Constant) else [tree]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for such an expression; empty for any other."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])
