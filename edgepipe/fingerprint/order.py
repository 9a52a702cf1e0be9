"""Which of a module's definitions may stand anywhere in it, and which have a place.

A definition may be moved, and left out of account where nothing refers to it, if making it does
nothing but bind its name. What might do more, such as a decorator that registers, or a base class
with ``__init_subclass__``, has a place. In doubt a definition has one: that costs a run that was
not needed, and the other way round would cost a wrong result.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator

from edgepipe.fingerprint.effects import Effects, name_bound
from edgepipe.fingerprint.names import Import, bound_names, is_quiet_import, last

_Def = ast.FunctionDef | ast.AsyncFunctionDef


class Order:
    """Sorts the top-level statements of one module."""

    def __init__(self, body: list[ast.stmt], imports: Iterable[Import]) -> None:
        self._count = Counter(bound_names(body))
        # What only tells type checkers more is no other meaning.
        told = Counter(s.name for s in body if isinstance(s, _Def) and _is_overload(s))
        self._count -= Counter({n: min(told[n], self._count[n] - 1) for n in told})
        self._effects = Effects(body, imports, set(self._count))
        self.placed: set[str] = set()
        """Definitions that have a place."""
        self._named: dict[int, str] = {}
        self._seen: set[int] = set()
        self._sort(body)

    def name_of(self, statement: ast.stmt) -> str | None:
        """The name of a definition; None for a statement that is none."""
        return self._named.get(id(statement))

    def _sort(self, body: list[ast.stmt]) -> None:
        rest: list[ast.stmt] = []
        free: dict[str, ast.stmt] = {}
        for statement in body:
            name = name_bound(statement)
            if name is None:
                if not is_quiet_import(statement):
                    rest.append(statement)
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                if self._is_free(name, statement):
                    free[name] = statement
                else:
                    rest.append(statement)
            else:
                self._named[id(statement)] = name
                if self._is_free(name, statement):
                    free[name] = statement
                    if isinstance(statement, ast.ClassDef):
                        self._effects.classes.add(name)
                else:
                    self.placed.add(name)
                    rest.append(statement)
        self._settle(rest, free)
        for name, statement in free.items():
            self._named[id(statement)] = name

    def _is_free(self, name: str, statement: ast.stmt) -> bool:
        if self._count[name] > 1 or not self._effects.is_free(statement):
            return False
        # What a name stands for that is bound again depends on the place.
        parts = [*_evaluated(statement), *_annotations(statement)]
        read = {n.id for part in parts for n in ast.walk(part) if isinstance(n, ast.Name)}
        return all(self._count[name] < 2 for name in read)

    def _settle(self, rest: list[ast.stmt], free: dict[str, ast.stmt]) -> None:
        """What looks into something that the rest may change has a place too."""
        waiting = list(rest)
        touched: set[str] = set()
        while waiting:
            for statement in waiting:
                touched |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
            # What the rest may call may change things as well.
            waiting = [s for name, s in free.items() if name in touched and id(s) not in self._seen]
            self._seen |= {id(s) for s in waiting}
            for name, statement in list(free.items()):
                if _looks_into(statement) & touched:
                    del free[name]
                    waiting.append(statement)
                    if not isinstance(statement, ast.Assign | ast.AnnAssign):
                        self.placed.add(name)


def _is_overload(function: _Def) -> bool:
    return any(last(decorator) == "overload" for decorator in function.decorator_list)


def _looks_into(statement: ast.stmt) -> set[str]:
    """Names of which making a definition reads more than what they are bound to."""
    found = set()
    for part in _evaluated(statement):
        for node in ast.walk(part):
            if isinstance(node, ast.Lambda):
                continue
            plain = isinstance(node, ast.Name | ast.Tuple | ast.List | ast.Set | ast.Dict)
            if not plain:
                found |= {n.id for n in ast.iter_child_nodes(node) if isinstance(n, ast.Name)}
    return found


def _evaluated(statement: ast.stmt) -> Iterator[ast.AST]:
    """The expressions that making a definition evaluates."""
    if isinstance(statement, _Def):
        yield from statement.decorator_list
        yield from statement.args.defaults
        yield from (d for d in statement.args.kw_defaults if d is not None)
    elif isinstance(statement, ast.ClassDef):
        yield from (*statement.decorator_list, *statement.bases)
        for inner in statement.body:
            yield from _evaluated(inner)
    elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        yield statement.value


def _annotations(statement: ast.stmt) -> Iterator[ast.expr]:
    """Those that making a definition may evaluate."""
    if isinstance(statement, _Def):
        found = [*(n.annotation for n in ast.walk(statement.args) if isinstance(n, ast.arg))]
        yield from (note for note in [*found, statement.returns] if note is not None)
    elif isinstance(statement, ast.AnnAssign):
        yield statement.annotation
    elif isinstance(statement, ast.ClassDef):
        for inner in statement.body:
            yield from _annotations(inner)
