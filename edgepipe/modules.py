"""Finds the files that a dotted module name may mean, without importing anything."""

from __future__ import annotations

import fnmatch
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Place = tuple[Path, Path]
"""A file, and the folder from which it is imported."""

ENGINE = "edgepipe"
ENGINE_FOLDER = Path(__file__).parent
_VENV = "pyvenv.cfg"
"""Marks a folder of installed packages."""


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
        self.searched: set[Path] = set()
        """Folders, there or not, in which a new file could be found instead of a known one."""
        self._packages = dict(packages or {})
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

    def is_package(self, module: str, folder: Path | None) -> bool:
        """Whether a dotted name means a folder of modules."""
        parts = module.split(".")
        places = [root.joinpath(*parts) for root in self.tops(parts[0], folder)]
        self.searched.update(place.parent for place in places)
        return any(place.is_dir() for place in places)

    def below(self, pattern: str, home: Path) -> Iterator[Place]:
        """Files that a dotted name with ``*`` in it may mean for code of ``home``.

        What is one's own may be meant, and for a package of stages that package too.
        """
        own = [root for root in self.roots if root not in self._packages]
        if not any(home.is_relative_to(root) for root in own):
            own.append(home.parent if home.parent in self._packages else home)
        for root in own:
            start = home if root in self._packages else root
            known = pattern.partition("*")[0].rpartition(".")[0]
            if known and root not in self._packages:
                start = root.joinpath(*known.split("."))
            for path in self.python_files(start):
                parts = path.relative_to(root).with_suffix("").parts
                parts = parts[:-1] if parts[-1] == "__init__" else parts
                if fnmatch.fnmatchcase(".".join(parts), pattern):
                    yield path, root

    def python_files(self, folder: Path) -> list[Path]:
        """All files of code below a folder."""
        return [path for path in self.files(folder) if path.suffix == ".py"]

    def files(self, folder: Path) -> list[Path]:
        """All files below a folder that may be somebody's own, in order."""
        if folder not in self._below:
            self._below[folder] = sorted(self._walk(folder))
        return self._below[folder]

    def _walk(self, folder: Path) -> Iterator[Path]:
        self.searched.add(folder)
        for here, folders, names in os.walk(folder):
            if _VENV in names:
                folders.clear()
                continue
            folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
            self.searched.add(Path(here))
            yield from (Path(here, name) for name in names if not name.endswith(".pyc"))

    def home(self, place: Place) -> Path:
        """The outermost folder of the project, or package of stages, that a file belongs to."""
        path, root = place
        if root in self._packages:
            return root / path.relative_to(root).parts[0]
        own = [r for r in self.roots if r not in self._packages and path.is_relative_to(r)]
        return min([*own, root], key=lambda folder: len(folder.parts))

    def _candidates(self, module: str, root: Path) -> Iterator[Place]:
        place = root.joinpath(*module.split("."))
        self.searched |= {place, place.parent}
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
            if top not in mine if mine is not None else _is_installed(root):
                continue
            self.searched.add(root)
            if (root / top).is_dir() or (root / f"{top}.py").is_file():
                found = True
                yield root
        if not found and (elsewhere := _loose_root(top)):
            yield elsewhere


def _is_installed(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _INSTALLED)


_INSTALLED = tuple(
    {
        Path(os.path.realpath(sysconfig.get_path(name)))
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    | {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


def _loose_root(top: str) -> Path | None:
    """The folder of a module that Python finds and no distribution has put there."""
    if top in sys.stdlib_module_names or not top.isidentifier():
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    locations = list(spec.submodule_search_locations or ())
    place = Path(spec.origin or (locations[0] if locations else ""))
    if not place.name.endswith(".py") and not locations:
        return None
    root = Path(locations[0]).parent if locations else place.parent
    return None if _is_installed(root) else root
