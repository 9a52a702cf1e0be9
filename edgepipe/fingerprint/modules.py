"""Finds the files that a dotted module name may mean, without importing anything."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES
from pathlib import Path

from edgepipe.locations import found_installed, is_installed, loose_root
from edgepipe.watch import names_in

Place = tuple[Path, Path]
"""A file, and the folder from which it is imported."""

ENGINE = "edgepipe"
ENGINE_FOLDER = Path(__file__).parent.parent
_VENV = "pyvenv.cfg"
"""Marks a folder of installed packages."""
_LINKS = 3
"""So many links to folders are followed one after the other, since they may lead in circles."""


class Modules:
    """Modules that are one's own: below some folders, or where nothing installed them.

    Args:
        roots: folders from which modules are imported.
        packages: for those of the roots that hold more than one's own code (such as
            ``site-packages``), the names of the packages to look into.
    """

    def __init__(
        self, roots: Sequence[Path], packages: Mapping[Path, frozenset[str]] | None = None
    ) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self.searched: dict[Path, tuple[int, set[str]]] = {}
        """Folders, there or not, in which a new file could be found instead of a known one: when a
        name last came or went, in ns, and the names of what may be imported.
        """
        self.listed: dict[Path, set[str]] = {}
        """Folders whose names were read, with the names."""
        self._packages = dict(packages or {})
        self._installed: dict[str, bool] = {}
        self._below: dict[Path, list[Path]] = {}
        self._top: dict[tuple[str, Path | None], tuple[Path, ...]] = {}
        self._files: dict[tuple[str, Path], tuple[Place, ...]] = {}

    def files_of(self, module: str, folder: Path | None) -> tuple[Place, ...]:
        """The files that a dotted name may mean for code in ``folder``: those of the module.

        There is more than one where two folders hold the same name: which is found may depend on
        what else is running.
        """
        found: dict[Place, None] = {}
        for root in self.tops(module.partition(".")[0], folder):
            if (module, root) not in self._files:
                self._files[module, root] = tuple(self._candidates(module, root))
            found |= dict.fromkeys(self._files[module, root])
        return tuple(found)

    def compiled(self, module: str, folder: Path | None) -> Iterator[Place]:
        """The files of compiled code that a dotted name may mean."""
        parts = module.split(".")
        for root in self.tops(parts[0], folder):
            yield from ((path, root) for path in _compiled(root.joinpath(*parts)))

    def is_also_installed(self, top: str) -> bool:
        """Whether a top-level module of one's own may be hidden by one that is installed."""
        if top not in self._installed:
            own = {ENGINE, *(name for names in self._packages.values() for name in names)}
            self._installed[top] = top not in own and found_installed(top)
        return self._installed[top]

    def hidden(self, module: str) -> Iterator[Place]:
        """The files that a dotted name may mean after a change of ``sys.path``."""
        for root in self._hidden.get(module.partition(".")[0], ()):
            yield from self._candidates(module, root)

    def is_package(self, module: str, folder: Path | None) -> bool:
        """Whether a dotted name means a folder of modules."""
        parts = module.split(".")
        places = [root.joinpath(*parts) for root in self.tops(parts[0], folder)]
        self.seek(*(place.parent for place in places))
        return any(place.is_dir() for place in places)

    def below(self, pattern: str, home: Path) -> Iterator[Place]:
        """Files that a dotted name with ``*`` in it may mean for code of ``home``.

        What is one's own may be meant, and for a package of stages that package too.
        """
        known = pattern.partition("*")[0].rpartition(".")[0]
        starts = [(root, root) for root in self._own()]
        if known:
            roots = self.tops(known.partition(".")[0], None)
            starts = [(root.joinpath(*known.split(".")), root) for root in roots]
        elif home.parent in self._packages:
            starts.append((home, home.parent))
        elif not any(home.is_relative_to(root) for root, _ in starts):
            starts.append((home, home))
        for start, root in starts:
            for path in self.python_files(start):
                parts = path.relative_to(root).with_suffix("").parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                if fnmatch.fnmatchcase(".".join(parts), pattern):
                    yield path, root

    def _own(self) -> list[Path]:
        """The roots that hold nothing but one's own code."""
        return [root for root in self.roots if root not in self._packages]

    def python_files(self, folder: Path) -> list[Path]:
        """All files of code below a folder."""
        return [path for path in self.files(folder) if path.suffix == ".py"]

    def files(self, folder: Path) -> list[Path]:
        """All files below a folder that may be somebody's own, in order."""
        if folder not in self._below:
            self._below[folder] = list(self._walk(folder))
        return self._below[folder]

    def _walk(self, folder: Path, through: frozenset[Path] = frozenset()) -> Iterator[Path]:
        """The files below a folder; ``through``: what the links on the way to it lead to."""
        self.seek(folder)
        for here, folders, names in os.walk(folder):
            if _VENV in names:
                folders.clear()
                continue
            folders[:] = sorted(n for n in folders if not n.startswith((".", "__pycache__")))
            place = Path(here)
            self.seek(place)
            self.listed.setdefault(place, names_in(here))
            # Code has one place: it would find itself again below a link, and so on.
            left_out = (".py", ".pyc") if through else ".pyc"
            yield from (place / name for name in sorted(names) if not name.endswith(left_out))
            for name in folders:
                target = self._link(place / name)
                if target and target not in through and len(through) < _LINKS:
                    yield from self._walk(place / name, through | {target})

    def _link(self, path: Path) -> Path | None:
        """Where a link leads, if to a folder of one's own that does not hold the link."""
        if not path.is_symlink():
            return None
        target = path.resolve()
        if path.parent.resolve().is_relative_to(target):
            return None
        for root in map(Path.resolve, self._own()):
            if target.is_relative_to(root):
                hidden = any(part.startswith(".") for part in target.relative_to(root).parts)
                return None if hidden else target
        return None

    def seek(self, *folders: Path) -> None:
        """Note that something was looked for in some folders."""
        for folder in folders:
            if folder not in self.searched:
                self.searched[folder] = _written(folder), _importable(folder)

    def relisted(self) -> bool:
        """Whether something came or went that could be imported instead of what was found."""
        for folder, (time, names) in self.searched.items():
            now = _written(folder)
            if now != time:
                if _importable(folder) != names or -1 in {now, time}:
                    return True
                self.searched[folder] = now, names
        return False

    def home(self, place: Place) -> Path:
        """The outermost folder of the project, or package of stages, that a file belongs to."""
        path, root = place
        if root in self._packages:
            return root / path.relative_to(root).parts[0]
        own = [r for r in self._own() if path.is_relative_to(r)]
        return min([*own, root], key=lambda folder: len(folder.parts))

    def root_of(self, path: Path) -> Path | None:
        """The innermost of the roots that a file is below; None if it is below none."""
        roots = [root for root in self.roots if path.is_relative_to(root)]
        return max(roots, key=lambda root: len(root.parts), default=None)

    def _candidates(self, module: str, root: Path) -> Iterator[Place]:
        place = root.joinpath(*module.split("."))
        self.seek(place, place.parent)
        for file in (place / "__init__.py", place.parent / f"{place.name}.py"):
            if file.is_file():
                yield file, root

    def tops(self, top: str, folder: Path | None) -> tuple[Path, ...]:
        """The folders from which a top-level module may be imported by code in ``folder``."""
        if (top, folder) not in self._top:
            self._top[top, folder] = tuple(self._roots_of(top, folder))
        return self._top[top, folder]

    def _roots_of(self, top: str, folder: Path | None) -> Iterator[Path]:
        if not top or top == ENGINE:
            yield from [ENGINE_FOLDER.parent] if top else []
            return
        found = False
        for root in dict.fromkeys((*self.roots, *([folder] if folder else []))):
            mine = self._packages.get(root)
            if top not in mine if mine is not None else is_installed(root):
                continue
            self.seek(root)
            if next(self._candidates(top, root), None) or next(_compiled(root / top), None):
                found = True
                yield root
            elif (root / top).is_dir():
                # Any folder is a package, if nothing else has its name.
                found = bool(self.python_files(root / top))
                yield root
        if not found and (elsewhere := loose_root(top)):
            yield elsewhere
        elif not found and top not in sys.stdlib_module_names and not self.is_also_installed(top):
            yield from self._hidden.get(top, ())

    @cached_property
    def _hidden(self) -> dict[str, list[Path]]:
        """Top-level modules that code could import after a change of ``sys.path``."""
        found: dict[str, dict[Path, None]] = {}
        for root in self._own():
            for path in self.files(root):
                if path.suffix in {".py", *_COMPILED}:
                    for place in (path, path.parent):
                        if place.is_relative_to(root) and place != root:
                            name = place.name.partition(".")[0]
                            found.setdefault(name, {})[place.parent] = None
        return {name: list(folders) for name, folders in found.items()}


def _written(folder: Path) -> int:
    """When a name last came or went in a folder, in ns; -1 where there is none."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116  asked for each node
    except OSError:
        return -1


def _importable(folder: Path) -> set[str]:
    """The names in a folder of what could be a module."""
    return {
        name
        for name in names_in(str(folder))
        if name.isidentifier() or name.endswith((".py", *EXTENSION_SUFFIXES))
    }


def _compiled(place: Path) -> Iterator[Path]:
    """The files of compiled code of a module."""
    yield from (path for suffix in _COMPILED if (path := Path(f"{place}{suffix}")).is_file())


_COMPILED = (*EXTENSION_SUFFIXES, *BYTECODE_SUFFIXES)
