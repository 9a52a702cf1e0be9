"""What code imports by a name that is a text: by ``import_module``, as a program, in a text."""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping

from edgepipe.fingerprint.names import Import, Package, absolute, imports_of, last, pattern

_IMPORTERS = {"__import__", "import_module", "locate", "resolve_name", "run_module"}
_LISTERS = {"iter_modules", "walk_packages"}
_LAZY = {"attach", "attach_stub"}
"""Of `lazy_loader`: modules of a package that are imported when something of them is asked for."""
_SPECS = {"exec_module", "load_module", "module_from_spec"}
_PROGRAM = re.compile(r"(?:^|\s)-m\s+([\w.*]+)")
_LEADS = {"ImportString", "dictConfig", "import_string", "instantiate"}
"""These import what texts name that they are given."""
_OBJECT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")
_TEXTS = "<texts>"
"""Stands for these in what `importers` gives."""
_UNKNOWN = "_edgepipe_unknown_"


def importers(tree: ast.AST, words: set[str]) -> dict[str, str]:
    """The names by which a file calls what imports by name → the names that these have."""
    known = (_IMPORTERS | _LISTERS) & words
    if words & _SPECS and "find_spec" in words:
        known.add("find_spec")
    if "lazy_loader" in words:
        known |= (_LAZY | {"load"}) & words
    if "pydoc" not in words:
        known.discard("locate")
    found = {name: name for name in known}
    if words & _LEADS:
        found[_TEXTS] = _TEXTS
    if not found:
        return found
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.asname and node.name in known:
            found[node.asname] = node.name
        elif isinstance(node, ast.Assign) and last(node.value) in known:
            found |= {last(target): last(node.value) for target in node.targets if last(target)}
    return found


def imports_by_text(
    statement: ast.AST, package: Package, names: Mapping[str, str]
) -> Iterator[Import]:
    """What a statement imports when it runs, by texts.

    Args:
        statement: the statement.
        package: the packages that its file is in.
        names: see `importers`.
    """
    called: set[int] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and last(node.func) in names:
            called.add(id(node.func))
            yield from _call(node, names[last(node.func)], package)
        elif isinstance(node, ast.Assign) and last(node.value) in names:
            called.add(id(node.value))
        elif isinstance(node, ast.List | ast.Tuple):
            yield from _program(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _text(node.value, package)
            if _TEXTS in names and _OBJECT.fullmatch(node.value):
                yield Import("", node.value.replace(":", "."), "*")
        elif isinstance(node, ast.JoinedStr):
            yield from _text(_filled(node), package)
        if last(node) in names and id(node) not in called and _is_loaded(node):
            # It is handed on, to be called with whatever.
            yield Import("", "*", "*")


def _is_loaded(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Load)


def _call(node: ast.Call, name: str, package: Package) -> Iterator[Import]:
    """``importlib.import_module("a.b")``, and the like."""
    keywords = {k.arg: k.value for k in node.keywords}
    first = node.args[0] if node.args else keywords.get("name")
    if name in _LISTERS | _LAZY:
        marks = {"__path__", "__file__", *(["__name__"] if name in _LAZY else [])}
        own = first is not None and any(last(n) in marks for n in ast.walk(first))
        yield Import("", f"{'.'.join(package)}.*" if own and package else "*", "*")
        return
    text = pattern(first, package)
    second = node.args[1] if len(node.args) > 1 else keywords.get("package")
    if name == "__import__":
        second = None
        text = "." * _level(node.args[4] if len(node.args) > 4 else keywords.get("level")) + text
    elif name == "resolve_name":
        text = text.partition(":")[0]
    level = len(text) - len(text.lstrip("."))
    if level and second is not None:
        package = tuple(pattern(second, package).split("."))
        if "*" in package:
            yield Import("", f"*.{text.lstrip('.')}", "*")
            return
    yield Import("", absolute(text.lstrip("."), level, package) or "*", "*")


def _level(node: ast.expr | None) -> int:
    value = getattr(node, "value", 0)
    return value if isinstance(value, int) else 0


def _program(node: ast.List | ast.Tuple) -> Iterator[Import]:
    """``[sys.executable, "-m", "a.b"]``."""
    for flag, module in itertools.pairwise(node.elts):
        # Of `child.__name__`, the module is handed about.
        if isinstance(flag, ast.Constant) and flag.value == "-m" and last(module) != "__name__":
            yield Import("", pattern(module, ()), "*")


def _filled(node: ast.JoinedStr) -> str:
    parts = (getattr(value, "value", "") for value in node.values)
    return "".join(part if isinstance(part, str) else _UNKNOWN for part in parts)


def _text(text: str, package: Package) -> Iterator[Import]:
    """A text that may be run: by Python, or by a shell."""
    for module in _PROGRAM.findall(text):
        yield Import("", "*" if _UNKNOWN in module else module, "*")
    if "import" not in text or len(text) > 100_000:
        return
    try:
        tree = ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for item in imports_of(tree, package, deep=True):
        for module in (item.module, f"{item.module}.{item.attribute}".rstrip(".")):
            yield Import("", "*" if _UNKNOWN in module else module, "*")
    words = {last(node) for node in ast.walk(tree)}
    yield from imports_by_text(tree, package, importers(tree, words))
