"""Which files that are no code some code may read, by what it says of their places and names."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from edgepipe.fingerprint.modules import Modules, Place
from edgepipe.fingerprint.names import FILLED
from edgepipe.fingerprint.unit import Unit


class DataFiles:
    """Finds the files that code may read beside itself.

    A folder that one file finds may be handed to another one, which says what is read there: the
    texts of all that is loaded count, as far as it belongs together. Of a folder in which names
    are found out while running, all counts.

    Args:
        modules: knows what belongs together.
    """

    def __init__(self, modules: Modules) -> None:
        self._modules = modules
        self._listings: dict[Path, _Listing] = {}

    def read_by(self, units: Mapping[Place, Unit]) -> dict[Path, Path]:
        """The files that some files of code may read, each with the folder its name begins at."""
        found: dict[Path, Path] = {}
        if not any(map(finds_files, units.values())):
            return found
        homes: dict[Path, dict[Place, Unit]] = {}
        for place, unit in units.items():
            homes.setdefault(self._modules.home(place), {})[place] = unit
        for home, own in homes.items():
            for path, (reader, _) in self._in(home, own):
                if path != reader and path not in found:
                    found[path] = self._modules.root_of(path) or home
        return found

    def _in(self, home: Path, units: Mapping[Place, Unit]) -> Iterator[tuple[Path, Place]]:
        higher = max(unit.paths.higher for unit in units.values())
        handed = {module for unit in units.values() for module in unit.paths.handed}
        is_handed = any(self._modules.tops(m.partition(".")[0], None) for m in sorted(handed))
        names = _Names(text for unit in units.values() for text in unit.paths.texts)
        for place, unit in units.items():
            paths = unit.paths
            bases = set()
            if paths.up >= 0:
                bases.add(_above(place[0].parent, paths.up, home))
                bases.add(_above(place[0].parent, paths.up + higher, home))
            if paths.resources:
                bases.update(_packages(self._modules, unit))
            for base in bases:
                listing = self._listing(base)
                yield from ((path, place) for path in listing.named(names))
                if paths.computed or is_handed:
                    for path in listing.files:
                        if path.suffix != ".py" or paths.loads:
                            yield path, place
            if unit.traits.runs:
                words = [word for text in paths.texts for word in text.split()]
                scripts = _Names(word for word in words if word.endswith(".py") and word != ".py")
                found = self._listing(home).named(scripts)
                yield from ((path, place) for path in found if path.suffix == ".py")

    def _listing(self, folder: Path) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _Listing(self._modules.files(folder), folder)
        return self._listings[folder]


def finds_files(unit: Unit) -> bool:
    """Whether a file of code may read others beside itself."""
    return unit.paths.up >= 0 or unit.traits.runs


def _above(folder: Path, up: int, home: Path) -> Path:
    """So many folders up, but not out of what belongs together."""
    if not folder.is_relative_to(home):
        return folder
    return [folder, *folder.parents][min(up, len(folder.relative_to(home).parts))]


def _packages(modules: Modules, unit: Unit) -> Iterator[Path]:
    """The folders of the packages that a file names."""
    names = {text for text in unit.paths.texts if text.replace(".", "").isidentifier()}
    names |= {i.module for i in unit.imports}
    for name in sorted(names):
        for root in modules.tops(name.partition(".")[0], None):
            folder = root.joinpath(*name.split("."))
            if folder.is_dir():
                yield folder


class _Names:
    """Texts, as names of files and folders."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.plain: set[tuple[str, ...]] = set()
        """As parts of a path."""
        patterns: set[str] = set()
        for text in texts:
            # Where a text begins, and what is filled into it, is not known.
            parts = [p for p in FILLED.sub("*", text).split("/") if p not in {"", ".", ".."}]
            if parts and ("*" in parts[-1] or "?" in parts[-1]):
                if parts[-1].strip("*?."):
                    patterns.add(parts[-1])
            elif parts:
                known = [n for n, part in enumerate(parts) if "*" in part]
                self.plain.add(tuple(parts[known[-1] + 1 if known else 0 :]))
        self.pattern = "|".join(map(fnmatch.translate, sorted(patterns)))


class _Listing:
    """The files below a folder, by the parts of their paths."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.files = files
        start = len(folder.parts)
        self._parts = {path: path.parts[start:] for path in files}
        self._having: dict[str, list[Path]] = {}
        self._ending: dict[str, list[Path]] = {}
        for path, parts in self._parts.items():
            for part in dict.fromkeys(parts):
                self._having.setdefault(part, []).append(path)
            _, dot, suffix = parts[-1].rpartition(".")
            if dot:
                self._ending.setdefault(suffix, []).append(path)

    def named(self, names: _Names) -> Iterator[Path]:
        """The files that a text names, or a folder that they are in, or how their names end."""
        for text in sorted(names.plain):
            yield from (p for p in self._having.get(text[-1], ()) if _holds(self._parts[p], text))
            _, dot, suffix = text[-1].rpartition(".")
            if dot and len(text) == 1 and len(text[0]) > 2:
                yield from (p for p in self._ending.get(suffix, ()) if p.name.endswith(text[0]))
        if names.pattern:
            matches = re.compile(names.pattern).fullmatch
            yield from (path for path in self.files if matches(self._parts[path][-1]))


def _holds(parts: Sequence[str], some: Sequence[str]) -> bool:
    """Whether some parts of a path stand in it one after the other."""
    return any(tuple(parts[i : i + len(some)]) == some for i in range(len(parts)))
