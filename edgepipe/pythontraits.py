"""What a Python file does that hides what it refers to, or makes more of it count."""

from __future__ import annotations

import ast
from dataclasses import astuple, dataclass
from typing import Any

from edgepipe.pythonnames import Package, dotted, imports_of, last

_OPAQUE = {"globals", "locals", "eval", "exec", "__builtins__"}
"""As names: ``module.eval()`` is something else."""
_EVERYWHERE = {"__globals__", "getmodule", "get_objects"}
_DOCSTRINGS = {"__doc__", "getdoc", "use_attribute_docstrings", "cleandoc"}
_RUNS = {"run_module", "run_path", "runpy", "-m"}
_LOADS_FILES = {"spec_from_file_location", "SourceFileLoader", "run_path"}
_READS_RESOURCES = {"files", "get_data", "read_text", "read_binary", "open_text", "open_binary"}
_UP = {"parent", "dirname"}


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
    statements = [s for s in tree.body if any(last(n) == "__all__" for n in ast.walk(s))]
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
            if isinstance(node, ast.Call) and last(node.func) in _READS_RESOURCES and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    resources.add(first.value)
                else:
                    resources.add(".".join(package))
    return up, resources
