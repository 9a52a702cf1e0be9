"""What one Python file defines, what of that has a place in an order, and what it refers to.

A file becomes a `Unit`: its top-level definitions, each with a digest of its syntax tree and with
the names that it uses, and the rest, which runs when the file is imported. Comments, docstrings,
layout, imports for type checkers only and the order of definitions leave no trace in it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from edgepipe.digest import digest_bytes
from edgepipe.errors import ConfigError, Problem, Where
from edgepipe.fingerprint.names import (
    Import,
    as_python_reads,
    imports_of,
    is_main_test,
    is_quiet_import,
    is_typing_test,
    references,
)
from edgepipe.fingerprint.order import Order
from edgepipe.fingerprint.paths import Paths
from edgepipe.fingerprint.texts import importers, imports_by_text
from edgepipe.fingerprint.traits import Traits, words_of

MODULE = "<module>"
MAIN = "<main>"
DOCSTRINGS = "<docstrings>"
DATA = "<data>"
SOURCE = "<source>"


@dataclass(frozen=True)
class Fragment:
    """A definition, or all that is none: its digest and what it refers to."""

    digest: str
    names: tuple[str, ...] = ()
    """Dotted names that it loads, such as ``np.float32``."""
    imports: tuple[Import, ...] = ()
    """What it imports when it runs."""


@dataclass(frozen=True)
class Unit:
    """One source file."""

    definitions: dict[str, Fragment]
    always: tuple[str, ...]
    """Definitions that importing the file may register somewhere: they count unasked."""
    rest: Fragment | None
    """What runs on import and is no definition."""
    main: Fragment | None
    """What runs only where the file is the program."""
    docstrings: str
    imports: tuple[Import, ...]
    """Those that run on import."""
    traits: Traits
    """What it does that hides from a reader what it refers to."""
    paths: Paths
    """Which files it may read."""

    def plain(self) -> Any:
        """As plain data."""
        return [
            {name: list(astuple(f)) for name, f in self.definitions.items()},
            self.always,
            self.rest and list(astuple(self.rest)),
            self.main and list(astuple(self.main)),
            self.docstrings,
            self.imports,
            self.traits.plain(),
            self.paths.plain(),
        ]

    @classmethod
    def of_plain(cls, value: Any) -> Unit:
        """What `plain` gave, also after a way through JSON."""
        definitions, always, rest, main, docstrings, imports, traits, paths = value
        return cls(
            {name: _fragment(f) for name, f in definitions.items()},
            tuple(always),
            rest and _fragment(rest),
            main and _fragment(main),
            docstrings,
            tuple(Import(*i) for i in imports),
            Traits.of_plain(traits),
            Paths.of_plain(paths),
        )


def _fragment(value: Any) -> Fragment:
    digest, names, imports = value
    return Fragment(digest, tuple(names), tuple(Import(*i) for i in imports))


def read_unit(path: Path, package: Sequence[str]) -> Unit:
    """Parse one file.

    Args:
        path: the file.
        package: the packages that it is in, outermost first: they decide what a relative import
            means.

    Raises:
        ConfigError: it cannot be read, or is not Python; with the place.
    """
    try:
        with as_python_reads():
            tree = ast.parse(path.read_bytes(), filename=str(path))
            return _Reader(tree, tuple(package)).unit()
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 1) or 1
        where = Where(str(path), line, getattr(error, "offset", 1) or 1)
        raise ConfigError(Problem(f"this is not Python: {error}", "", where)) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (RecursionError, MemoryError):
        where = Where(str(path), 1, 1)
        raise ConfigError(Problem("this Python is nested too deeply", "", where)) from None


@dataclass
class _Reader:
    tree: ast.Module
    package: tuple[str, ...]
    named: dict[str, list[ast.stmt]] = field(default_factory=dict)
    rest: list[ast.stmt] = field(default_factory=list)
    main: list[ast.stmt] = field(default_factory=list)
    placed: list[ast.stmt | str] = field(default_factory=list)
    """The rest, with the names of definitions whose place counts, in order."""
    importers: dict[str, str] = field(default_factory=dict)
    quiet: dict[str, str] = field(default_factory=dict)
    """What the imports that do nothing else bind to names."""

    def unit(self) -> Unit:
        docstrings = _take_docstrings(self.tree, self.package)
        _drop_typing(self.tree)
        words = words_of(self.tree)
        self.importers = importers(self.tree, words[0] | words[1])
        traits = Traits.of(self.tree, words, self.package)
        paths = Paths.of(self.tree, words[0] | words[1], self.package)
        _plain_literals(self.tree)
        body = [s for s in self.tree.body if not self._is_main(s)]
        imports = [i for s in body for i in imports_of(s, self.package, deep=False)]
        order = Order(body, imports)
        for statement in body:
            self._sort(statement, order)
        bound = {*self.named, *(i.local for i in imports)}
        self.quiet = {
            i.local: f"import {i.module} {i.attribute}"
            for s in body
            if is_quiet_import(s)
            for i in imports_of(s, self.package, deep=False)
            if i.local
        }

        def fragment(statements: list[ast.stmt]) -> Fragment:
            return self._fragment(statements, bound)

        definitions = {name: fragment(found) for name, found in self.named.items()}
        return Unit(
            definitions,
            tuple(sorted(set(order.placed) & set(self.named))),
            self._rest(bound),
            self._program(bound) if self.main else None,
            docstrings,
            tuple(imports),
            traits,
            paths,
        )

    def _program(self, bound: set[str]) -> Fragment:
        imports = [i for s in self.main for i in imports_of(s, self.package, deep=False)]
        return self._fragment(self.main, bound | {i.local for i in imports})

    def _is_main(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.If) and is_main_test(statement.test) and not statement.orelse:
            self.main += statement.body
            return True
        return False

    def _sort(self, statement: ast.stmt, order: Order) -> None:
        """A statement is a definition, or a definition with a place, or part of the rest."""
        if is_quiet_import(statement):
            return
        name = order.name_of(statement)
        if name is None:
            self.rest.append(statement)
            self.placed.append(statement)
            return
        self.named.setdefault(name, []).append(statement)
        if name in order.placed:
            self.placed.append(name)

    def _rest(self, bound: set[str]) -> Fragment | None:
        if not self.placed:
            return None
        found = self._fragment(self.rest, bound)
        parts = [f"def {s}" if isinstance(s, str) else _dump(s, self.package) for s in self.placed]
        return Fragment(_digest([*parts, found.digest]), found.names, found.imports)

    def _fragment(self, statements: list[ast.stmt], bound: set[str]) -> Fragment:
        names: set[str] = set()
        imports: dict[Import, None] = {}
        for statement in statements:
            names |= references(statement, bound, self.package)
            imports |= dict.fromkeys(imports_of(statement, self.package, deep=True))
            imports |= dict.fromkeys(imports_by_text(statement, self.package, self.importers))
        parts = [_dump(s, self.package) for s in statements]
        used = sorted({n.partition(".")[0] for n in names} & self.quiet.keys())
        parts += [f"{name}: {self.quiet[name]}" for name in used]
        return Fragment(_digest(parts), tuple(sorted(names)), tuple(imports))


def _digest(parts: Sequence[str]) -> str:
    return digest_bytes("code", "\n".join(parts).encode("utf-8", "surrogatepass"))[:32]


def _dump(statement: ast.stmt, package: tuple[str, ...]) -> str:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        # How imports are grouped into statements is layout.
        found = sorted(imports_of(statement, package, deep=False))
        return "\n".join(f"import {i.module} {i.attribute} {i.local}" for i in found)
    return ast.dump(statement)


def _bodies(tree: ast.AST) -> list[tuple[ast.AST, str, list[ast.stmt]]]:
    return [
        (node, name, value)
        for node in ast.walk(tree)
        for name in ("body", "orelse", "finalbody")
        if isinstance(value := getattr(node, name, None), list)
    ]


def _replace(node: ast.AST, name: str, statements: list[ast.stmt]) -> None:
    needs_one = name == "body" and not isinstance(node, ast.Module)
    setattr(node, name, statements or ([ast.Pass()] if needs_one else []))


def _take_docstrings(tree: ast.Module, package: tuple[str, ...]) -> str:
    """Take out bare constants (docstrings, also of attributes) and descriptions: their digest."""
    taken = _take_descriptions(tree, package)
    for node, name, body in _bodies(tree):
        kept = []
        for item in body:
            if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
                taken.append(repr(item.value.value))
            else:
                kept.append(item)
        if len(kept) != len(body):
            _replace(node, name, kept)
    return _digest(taken) if taken else ""


def _take_descriptions(tree: ast.Module, package: tuple[str, ...]) -> list[str]:
    fields = {
        i.local
        for i in imports_of(tree, package, deep=True)
        if i.attribute == "Field" and i.module in {"edgepipe.stage", "pydantic"}
    }
    taken = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in fields
        ):
            for given in list(node.keywords):
                if given.arg == "description" and isinstance(given.value, ast.Constant):
                    node.keywords.remove(given)
                    taken.append(repr(given.value.value))
    return taken


def _drop_typing(tree: ast.Module) -> None:
    """Take out what is there for type checkers only."""
    for node, name, body in _bodies(tree):
        if any(isinstance(item, ast.If) and is_typing_test(item.test) for item in body):
            kept: list[ast.stmt] = []
            for item in body:
                if isinstance(item, ast.If) and is_typing_test(item.test):
                    kept += item.orelse
                else:
                    kept.append(item)
            _replace(node, name, kept)


def _plain_literals(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.kind = None
