"""What the names of a Python file may stand for, without regard to the order of its statements."""

from __future__ import annotations

import ast
from collections import defaultdict

from edgepipe.fingerprint.names import last, pattern

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_WRAPS = {"Path", "PurePath", "format", "fspath", "join", "list", "sorted", "str", "tuple"}
"""What these give is called as what they are given."""
_KEYED = {"__import__", "files", "find_spec", "get", "getattr", "getenv", "import_module", "pop"}
"""A text that these are given is the name of something else than a file."""


class Values:
    """What the names of a file may stand for, wherever in it they are bound."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        self.values: defaultdict[str, list[ast.expr]] = defaultdict(list)
        self.free: set[str] = set()
        """Names that may stand for something from outside."""
        self.aliases: dict[str, str] = {}
        """What imports call otherwise, by its new name."""
        self._called: defaultdict[str, list[ast.Call]] = defaultdict(list)
        for node in self.nodes:
            if isinstance(node, ast.Call):
                self._called[last(node.func)].append(node)
        for node in self.nodes:
            self._bind(node)

    def _bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
            self._assign(node.target, node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._assign(node.target, node.iter)
        elif isinstance(node, ast.withitem) and node.optional_vars:
            self._assign(node.optional_vars, node.context_expr)
        elif isinstance(node, ast.alias):
            self.free.add(node.asname or node.name)
            if node.asname:
                self.aliases[node.asname] = node.name
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            self.free.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            self.free.add(node.rest)
        elif isinstance(node, ast.arg):
            self.free.add(node.arg)
        elif isinstance(node, ast.ClassDef):
            # A field's value comes from whoever makes an object.
            self.free |= {last(s.target) for s in node.body if isinstance(s, ast.AnnAssign)}
        elif isinstance(node, _FUNCTIONS):
            self._calls(node)
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return | ast.Yield | ast.YieldFrom) and inner.value:
                    self.values[node.name].append(inner.value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        for node in ast.walk(target):
            if name := last(node):
                self.values[name].append(value)

    def _calls(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """What the file itself calls a function with."""
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        names = names[1:] if names[:1] in (["self"], ["cls"]) else names
        for node in self._called[function.name]:
            for name, given in zip(names, node.args, strict=False):
                self.values[name].append(given)
            for keyword in node.keywords:
                if keyword.arg:
                    self.values[keyword.arg].append(keyword.value)

    def known(self, node: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a name of a file is written out somewhere, at least in part."""
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.JoinedStr | ast.BinOp) and pattern(node, ()).strip("*./"):
            return True
        if isinstance(node, ast.Name | ast.Attribute):
            name = last(node)
            values = self.values.get(name, ())
            if name in self.free or not values or name in seen:
                return name == "pardir"
            return all(self.known(value, seen | {name}) for value in values)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return all(self.known(item, seen) for item in node.elts)
        if isinstance(node, ast.Dict):
            return all(self.known(item, seen) for item in node.values)
        if isinstance(node, ast.IfExp):
            return self.known(node.body, seen) and self.known(node.orelse, seen)
        if isinstance(node, ast.Subscript):
            return self.known(node.value, seen)
        if isinstance(node, ast.Call) and last(node.func) in _WRAPS:
            if last(node.func) in {"join", "format"} and pattern(node, ()) == "*":
                return False
            if last(node.func) == "str" and not self.names(node):
                # A number, say.
                return False
            return all(self.known(given, seen) for given in node.args)
        return False

    def names(self, node: ast.AST) -> bool:
        """Whether a text in it names a folder, or how the names of files look."""
        waiting = [node]
        seen = set(self.free)
        while waiting:
            inner = waiting.pop()
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                if inner.value.strip("*./"):
                    return True
            elif isinstance(inner, ast.Name) and inner.id not in seen:
                seen.add(inner.id)
                waiting += self.values.get(inner.id, ())
            if isinstance(inner, ast.Subscript):
                waiting.append(inner.value)
            elif isinstance(inner, ast.Call) and last(inner.func) in _KEYED:
                waiting.append(inner.func)
            else:
                waiting += ast.iter_child_nodes(inner)
        return False

    def is_up(self, node: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a part of a path names nothing, but may lead to the folder above."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and not node.value.strip("./")
        if last(node) in {"altsep", "curdir", "pardir", "sep"}:
            return True
        values = self.values.get(last(node), ())
        if not values or last(node) in seen | self.free:
            return False
        return all(self.is_up(value, seen | {last(node)}) for value in values)
