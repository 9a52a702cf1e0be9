"""Reads names out of Python's syntax trees: what code imports, loads, and hides from a reader."""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

Package = tuple[str, ...]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_OPAQUE = {"globals", "locals", "eval", "exec", "__builtins__"}
"""As names: ``module.eval()`` is something else."""
_EVERYWHERE = {"__globals__", "getmodule", "get_objects"}
_DOCSTRINGS = {"__doc__", "getdoc", "use_attribute_docstrings", "cleandoc"}
_RUNS = {"run_module", "run_path", "runpy", "-m"}
_LOADS_FILES = {"spec_from_file_location", "SourceFileLoader", "run_path"}
_READS_RESOURCES = {"files", "get_data", "read_text", "read_binary", "open_text", "open_binary"}
_UP = {"parent", "dirname"}


class Import(NamedTuple):
    """One imported name. With ``attribute`` ``*``, all of the module is meant.

    A ``*`` in the module's name stands for what is known only when the code runs.
    """

    local: str
    module: str
    attribute: str


@dataclass(frozen=True)
class Traits:
    """What a file does that hides what it refers to, or makes more of it count."""

    opaque: bool = False
    """It finds its own names by text."""
    everywhere: bool = False
    """It finds definitions of other modules without naming these."""
    heirs: tuple[str, ...] = ()
    """Modules of which it finds classes by what they derive from; empty text: of any."""
    loose: tuple[str, ...] = ()
    """Names that it may look up in any module that is loaded."""
    docstrings: bool = False
    """It reads docstrings."""
    runs: bool = False
    """It starts modules as programs."""
    exports: tuple[str, ...] = ()
    """What its ``__all__`` lists."""
    up: int = -1
    """It looks for files beside itself, so many folders up; -1: it does not."""
    resources: tuple[str, ...] = ()
    """Packages whose data files it reads."""
    texts: tuple[str, ...] = ()
    """Its constant texts, where it looks for files: their names are among these."""

    def plain(self) -> Any:
        """As plain data."""
        return list(astuple(self))

    @classmethod
    def of_plain(cls, value: Any) -> Traits:
        """What `plain` gave, also after a way through JSON."""
        parts: list[Any] = [tuple(v) if isinstance(v, list | tuple) else v for v in value]
        return cls(*parts)

    @classmethod
    def of(cls, tree: ast.Module, package: Package) -> Traits:
        """Read a file."""
        names, attributes, texts = _words(tree)
        words = names | attributes
        up, resources = _files_beside(tree, words, package)
        loads = bool(words & _LOADS_FILES) or bool(names & {"exec"})
        finds_modules = "modules" in words and "sys" in words
        by_text = finds_modules and _looks_up_by_text(tree)
        reads_files = up >= 0 or bool(resources) or loads
        return cls(
            opaque=bool(names & _OPAQUE) or "__dict__" in attributes or finds_modules,
            everywhere=bool(words & _EVERYWHERE) or by_text,
            heirs=tuple(sorted(_heirs(tree, package))) if "__subclasses__" in words else (),
            loose=tuple(sorted(w for w in words if w.isidentifier())) if finds_modules else (),
            docstrings=bool(words & _DOCSTRINGS),
            runs=bool((words | texts) & _RUNS),
            exports=tuple(sorted(_exports(tree))),
            up=max(up, 0) if reads_files else -1,
            resources=tuple(sorted(resources)),
            texts=tuple(sorted(t for t in texts if 1 < len(t) < 200)) if reads_files else (),
        )


def _words(tree: ast.AST) -> tuple[set[str], set[str], set[str]]:
    """Names, attributes (keywords too) and constant texts that occur."""
    names: set[str] = set()
    attributes: set[str] = set()
    texts: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            attributes.add(node.attr)
        elif isinstance(node, ast.alias):
            attributes.update(node.name.split("."))
        elif isinstance(node, ast.keyword) and node.arg:
            attributes.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    return names, attributes, texts


def _exports(tree: ast.Module) -> set[str]:
    statements = [s for s in tree.body if any(_last(n) == "__all__" for n in ast.walk(s))]
    return {
        node.value
        for statement in statements
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _heirs(tree: ast.AST, package: Package) -> set[str]:
    """Where the classes come from whose ``__subclasses__()`` are asked for."""
    imported = {i.local: i.module for i in imports_of(tree, package, deep=True)}
    asked = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "__subclasses__"
    ]
    return {imported.get(dotted(node).partition(".")[0], "") for node in asked} or {""}


def _looks_up_by_text(tree: ast.AST) -> bool:
    """Whether an attribute's name is found out while running."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "vars":
                return True
            constant = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            if node.func.id == "getattr" and not constant:
                return True
    return False


def _files_beside(tree: ast.AST, words: set[str], package: Package) -> tuple[int, set[str]]:
    """How many folders up files are sought, -1 for not at all; packages whose files are read."""
    up, resources = -1, set()
    if "__file__" in words or "__path__" in words:
        chain = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute | ast.Name)]
        ups = sum((n.attr if isinstance(n, ast.Attribute) else n.id) in _UP for n in chain)
        numbers = [
            int(n.slice.value) + 1
            for n in ast.walk(tree)
            if isinstance(n, ast.Subscript)
            and isinstance(n.value, ast.Attribute)
            and n.value.attr == "parents"
            and isinstance(n.slice, ast.Constant)
            and isinstance(n.slice.value, int)
        ]
        dots = sum(isinstance(n, ast.Constant) and n.value == ".." for n in ast.walk(tree))
        up = max([ups + dots - 1, *(n - 1 for n in numbers), 0])
    if "resources" in words or "pkgutil" in words:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _last(node.func) in _READS_RESOURCES and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    resources.add(first.value)
                else:
                    resources.add(".".join(package))
    return up, resources


def _last(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_typing_test(test: ast.expr) -> bool:
    """``if TYPE_CHECKING:``."""
    return _last(test) == "TYPE_CHECKING"


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
    """What a statement imports; ``deep``: also while functions in it run, and by text."""
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
            base = _absolute(node.module or "", node.level, package)
            for alias in node.names:
                yield Import(alias.asname or alias.name, base, alias.name)
        elif deep and isinstance(node, ast.Call):
            yield from _import_calls(node, package)
        elif deep and isinstance(node, ast.List | ast.Tuple):
            yield from _run_as_program(node)
        if deep or not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)


def _absolute(module: str, level: int, package: Package) -> str:
    if not level:
        return module
    above = package[: len(package) - level + 1] if level <= len(package) else ()
    return ".".join((*above, *([module] if module else [])))


def _import_calls(node: ast.Call, package: Package) -> Iterator[Import]:
    """``importlib.import_module("a.b")``, and the like."""
    name = _last(node.func)
    if name in {"import_module", "__import__", "run_module"}:
        given = node.args[0] if node.args else None
        text = _pattern(given, package)
        level = len(text) - len(text.lstrip("."))
        yield Import("", _absolute(text.lstrip("."), level, package) or "*", "*")
    elif name in {"iter_modules", "walk_packages"}:
        yield Import("", f"{'.'.join(package)}.*" if package else "*", "*")


def _pattern(node: ast.expr | None, package: Package) -> str:
    """A text as far as it is written out, with ``*`` for what is not."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.FormattedValue) else v for v in node.values)
        return "".join(_pattern(part, package) for part in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _pattern(node.left, package) + _pattern(node.right, package)
    if isinstance(node, ast.Name) and node.id == "__package__":
        return ".".join(package)
    return "*"


def _run_as_program(node: ast.List | ast.Tuple) -> Iterator[Import]:
    """``[sys.executable, "-m", "a.b"]``."""
    values = [e.value if isinstance(e, ast.Constant) else None for e in node.elts]
    for flag, module in itertools.pairwise(values):
        if flag == "-m" and isinstance(module, str):
            yield Import("", module, "*")


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
