"""What may be changed in the laboratory: definitions, values, defaults, texts and files."""

from __future__ import annotations

import ast
from collections.abc import Callable

from lab import Lab

Change = Callable[[Lab], None]


def definition(name: str, path: str) -> Change:
    """Another first statement for a function, ``NAME`` or ``CLASS.NAME``."""

    def change(lab: Lab) -> None:
        def edit(text: str) -> str:
            function = _find(text, path)
            lines = text.split("\n")
            first = function.body[0]
            lines.insert(first.lineno - 1, f"{' ' * first.col_offset}edited = True")
            return "\n".join(lines)

        lab.edit(name, edit)

    return change


def value(name: str, path: str, new: str | None = None) -> Change:
    """Another value for a constant, ``NAME`` or ``CLASS.NAME``; of a call, its first argument."""

    def change(lab: Lab) -> None:
        def edit(text: str) -> str:
            node = _find(text, path).value
            if isinstance(node, ast.Call) and new is not None and node.args:
                node = node.args[0]
            old = ast.get_source_segment(text, node)
            assert old is not None
            start, end = _span(text, node)
            return text[:start] + (new or f"({old}) if True else None") + text[end:]

        lab.edit(name, edit)

    return change


def default(name: str, path: str, argument: str, new: str) -> Change:
    """Another default for an argument of a function."""

    def change(lab: Lab) -> None:
        def edit(text: str) -> str:
            given = _find(text, path).args
            named = dict(zip([a.arg for a in given.kwonlyargs], given.kw_defaults, strict=True))
            plain = [*given.posonlyargs, *given.args][-len(given.defaults) or None :]
            named |= dict(zip([a.arg for a in plain], given.defaults, strict=False))
            start, end = _span(text, named[argument])
            return text[:start] + new + text[end:]

        lab.edit(name, edit)

    return change


def replace(name: str, old: str, new: str) -> Change:
    return lambda lab: lab.edit(name, lambda text: text.replace(old, new, 1))


def append(name: str, text: str) -> Change:
    return lambda lab: lab.edit(name, lambda before: before + text)


def write(name: str, body: str | None) -> Change:
    return lambda lab: lab.write(name, body)


def _find(text: str, path: str) -> ast.AST:
    node: ast.AST = ast.parse(text)
    for part in path.split("."):
        node = next(n for n in node.body if part in _names(n))
    return node


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _span(text: str, node: ast.expr) -> tuple[int, int]:
    lines = text.encode().split(b"\n")

    def offset(line: int, column: int) -> int:
        before = b"\n".join(lines[: line - 1]) + (b"\n" if line > 1 else b"")
        return len((before + lines[line - 1][:column]).decode())

    return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)
