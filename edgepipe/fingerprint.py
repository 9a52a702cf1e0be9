"""What code a stage depends on, found without importing it.

From the file of a stage, imports are followed, wherever in the code they stand, as long as they
lead into the same folders of stages, or into the user's project; what is installed counts by its
version instead. Of each file every definition is digested as its syntax tree, so that comments,
docstrings, layout and the order of definitions do not matter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepipe.digest import digest_bytes
from edgepipe.errors import ConfigError, Problem, Where

Code = Mapping[str, str]
"""``FILE:DEFINITION`` → digest; the file relative to the root that it was imported from."""


@dataclass(frozen=True)
class Unit:
    """One source file: its definitions' digests, and what it imports (absolute, dotted)."""

    definitions: Mapping[str, str]
    imports: tuple[str, ...]


class Fingerprints:
    """Fingerprints of code below some folders; every file is read once."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._units: dict[Path, Unit] = {}
        self._roots: dict[tuple[str, Path], Path | None] = {}
        self._files_of: dict[tuple[str, Path], tuple[tuple[Path, Path], ...]] = {}

    def of(self, path: Path, root: Path) -> Code:
        """Digest the code that the file ``path``, imported from the folder ``root``, reaches.

        Raises:
            ConfigError: a file cannot be read or parsed.
        """
        code: dict[str, str] = {}
        waiting, seen = [(path, root)], {path}
        while waiting:
            file, base = waiting.pop()
            unit = self._unit(file, base)
            name = file.relative_to(base).as_posix()
            code |= {f"{name}:{part}": digest for part, digest in unit.definitions.items()}
            for module in unit.imports:
                for found in self._resolve(module, file.parent):
                    if found[0] not in seen:
                        seen.add(found[0])
                        waiting.append(found)
        return dict(sorted(code.items()))

    def _unit(self, path: Path, root: Path) -> Unit:
        if path not in self._units:
            self._units[path] = read_unit(path, root)
        return self._units[path]

    def _resolve(self, module: str, folder: Path) -> tuple[tuple[Path, Path], ...]:
        """The files that importing a dotted name runs: the module's and its packages'."""
        top = module.partition(".")[0]
        if (top, folder) not in self._roots:
            self._roots[top, folder] = self._root(top, folder)
        root = self._roots[top, folder]
        if root is None:
            return ()
        if (module, root) not in self._files_of:
            self._files_of[module, root] = tuple(_files(module, root))
        return self._files_of[module, root]

    def _root(self, top: str, folder: Path) -> Path | None:
        for root in dict.fromkeys((*self.roots, folder)):
            if (root / top).is_dir() or (root / f"{top}.py").is_file():
                return root
        return None


def _files(module: str, root: Path) -> Iterator[tuple[Path, Path]]:
    place = root
    for part in module.split("."):
        place /= part
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file, root


def read_unit(path: Path, root: Path) -> Unit:
    """Parse one file. Raises ConfigError with the place where it is not Python."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 1) or 1
        where = Where(str(path), line, getattr(error, "offset", 1) or 1)
        raise ConfigError(Problem(f"this is not Python: {error}", "", where)) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    package = path.relative_to(root).parent.parts
    imports = tuple(sorted(set(_imports(tree, package))))
    return Unit(_definitions(tree), imports)


def _imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*parts, *((node.module,) if node.module else ())))
            for alias in node.names:
                yield f"{base}.{alias.name}" if base else alias.name
        elif isinstance(node, ast.Call):
            yield from _import_call(node)


def _import_call(node: ast.Call) -> Iterator[str]:
    """``importlib.import_module("a.b")`` with the name written out."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in {"import_module", "__import__"} and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _definitions(tree: ast.Module) -> dict[str, str]:
    """Digests of top-level functions and classes by name; of all else together, in its order."""
    for node in ast.walk(tree):
        _drop_docstring(node)
    found: dict[str, list[str]] = {}
    rest = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.setdefault(node.name, []).append(ast.dump(node))
        else:
            rest.append(ast.dump(node))
    if rest:
        found["<module>"] = rest
    return {name: digest_bytes("code", "\n".join(d).encode())[:32] for name, d in found.items()}


def _drop_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if not isinstance(body, list):
        return
    # Any bare constant does nothing: a docstring, or one below an attribute.
    kept = [
        item
        for item in body
        if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
    ]
    if len(kept) != len(body):
        empty: list[ast.stmt] = [] if isinstance(node, ast.Module) else [ast.Pass()]
        node.body = kept or empty  # type: ignore[attr-defined]
