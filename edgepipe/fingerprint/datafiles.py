"""Which files that are no code some code may read, by what it says of their places and names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgepipe.fingerprint.listings import Listing, Names
from edgepipe.fingerprint.modules import Modules, Place
from edgepipe.fingerprint.unit import Unit


@dataclass
class Found:
    """Files that code may read, each with the folder that its name begins at."""

    files: dict[Path, Path] = field(default_factory=dict)
    texts: dict[Path, Path] = field(default_factory=dict)
    """Those of code that may be read as text: so their comments count too."""


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
        self._listings: dict[Path, Listing] = {}

    def read_by(self, units: Mapping[Place, Unit]) -> Found:
        """The files that some files of code may read."""
        found = Found()
        if not any(map(finds_files, units.values())):
            return found
        homes: dict[Path, dict[Place, Unit]] = {}
        for place, unit in units.items():
            homes.setdefault(self._modules.home(place), {})[place] = unit
        for home, own in homes.items():
            for path, (reader, _), as_text in self._in(home, own):
                root = self._modules.root_of(path) or home
                if path != reader:
                    found.files.setdefault(path, root)
                if as_text:
                    found.texts.setdefault(path, root)
        return found

    def _in(self, home: Path, units: Mapping[Place, Unit]) -> Iterator[tuple[Path, Place, bool]]:
        """Files, each with what may read it, and whether it may do so as text though it is code."""
        higher = max(unit.paths.higher for unit in units.values())
        handed = {module for unit in units.values() for module in unit.paths.handed}
        is_handed = any(self._modules.tops(m.partition(".")[0], None) for m in sorted(handed))
        names = Names(text for unit in units.values() for text in unit.paths.texts)
        for place, unit in units.items():
            paths = unit.paths
            bases = set()
            if paths.up >= 0:
                for folder in _folders(place[0], home):
                    bases.add(_above(folder, paths.up, home))
                    bases.add(_above(folder, paths.up + higher, home))
            if paths.resources:
                bases.update(_packages(self._modules, unit))
            runs = paths.loads or paths.imports or unit.traits.runs
            for base in bases:
                listing = self._listing(base)
                for path in listing.named(names):
                    yield path, place, not runs and path.suffix == ".py" and names.mean(path.name)
                if paths.computed or is_handed:
                    for path in listing.files:
                        if path.suffix != ".py" or paths.loads:
                            yield path, place, False
            if unit.traits.runs:
                words = [word for text in paths.texts for word in text.split()]
                scripts = Names(word for word in words if word.endswith(".py") and word != ".py")
                found = self._listing(home).named(scripts)
                yield from ((path, place, False) for path in found if path.suffix == ".py")

    def _listing(self, folder: Path) -> Listing:
        if folder not in self._listings:
            self._listings[folder] = Listing(self._modules.files(folder), folder)
        return self._listings[folder]


def finds_files(unit: Unit) -> bool:
    """Whether a file of code may read others beside itself."""
    return unit.paths.up >= 0 or unit.traits.runs


def _folders(path: Path, home: Path) -> set[Path]:
    """Where a file of code is, and where it leads if it is a link: `Path.resolve` gives that."""
    real, top = path.resolve().parent, home.resolve()
    within = {home / real.relative_to(top)} if real.is_relative_to(top) else set()
    return {path.parent, *within}


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
