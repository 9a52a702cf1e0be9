"""Which files that are no code some code may read, by what it says of their places and names."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from edgepipe.modules import Modules, Place
from edgepipe.pythonfile import Unit
from edgepipe.pythonnames import FILLED


def files_read(modules: Modules, units: Mapping[Place, Unit]) -> dict[Path, Path]:
    """The files that code may read beside itself, each with the folder its name begins at.

    A folder that one file finds may be handed to another one, which says what is read there: the
    texts of all that is loaded count, as far as it belongs together. Of a folder in which names
    are found out while running, all counts.

    Args:
        modules: knows what belongs together.
        units: the files of code that are loaded.
    """
    found: dict[Path, Path] = {}
    if not any(u.paths.up >= 0 or u.paths.project or u.traits.runs for u in units.values()):
        return found
    homes: dict[Path, dict[Place, Unit]] = {}
    for place, unit in units.items():
        homes.setdefault(modules.home(place), {})[place] = unit
    for home, own in homes.items():
        for path, place in _of_home(modules, home, own):
            if path != place[0]:
                root = place[1] if path.is_relative_to(place[1]) else home
                found.setdefault(path, root)
    return found


def _of_home(
    modules: Modules, home: Path, units: Mapping[Place, Unit]
) -> Iterator[tuple[Path, Place]]:
    higher = max(unit.paths.higher for unit in units.values())
    handed = {module for unit in units.values() for module in unit.paths.handed}
    is_handed = any(modules.files_of(module, home) for module in sorted(handed))
    texts = _Names(text for unit in units.values() for text in unit.paths.texts)
    for place, unit in units.items():
        paths = unit.paths
        bases = set()
        if paths.up >= 0:
            bases.add(_above(place[0].parent, paths.up, home))
            bases.add(_above(place[0].parent, paths.up + higher, home))
        if paths.resources:
            bases.update(_packages(modules, unit))
        for base in bases:
            yield from ((path, place) for path in texts.named(modules.files(base), base))
            if paths.computed or is_handed:
                for path in modules.files(base):
                    if path.suffix != ".py" or paths.loads:
                        yield path, place
        if unit.traits.runs:
            words = [word for text in paths.texts for word in text.split()]
            scripts = _Names(word for word in words if word.endswith(".py") and word != ".py")
            code = modules.python_files(home)
            yield from ((path, place) for path in scripts.named(code, home))
        if paths.project and home in modules.roots:
            yield from ((path, place) for path in texts.named(modules.files(home), home))


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
        self._plain: set[str] = set()
        patterns: set[str] = set()
        for text in texts:
            # Where a text begins, and what is filled into it, is not known.
            parts = [p for p in FILLED.sub("*", text).split("/") if p not in {"", ".", ".."}]
            if not parts:
                continue
            if "*" in parts[-1] or "?" in parts[-1]:
                if parts[-1].strip("*?."):
                    patterns.add(parts[-1])
                continue
            known = [n for n, part in enumerate(parts) if "*" in part]
            self._plain.add("/".join(parts[known[-1] + 1 if known else 0 :]))
        self._pattern = re.compile("|".join(map(fnmatch.translate, sorted(patterns))) or r"(?!)")

    def named(self, files: Iterable[Path], base: Path) -> Iterator[Path]:
        """The files that a text names, or a folder that they are in, or how their names end."""
        for path in files:
            parts = path.relative_to(base).parts
            name, count = parts[-1], len(parts)
            if (
                any(
                    "/".join(parts[i:j]) in self._plain
                    for i in range(count)
                    for j in range(i + 1, count + 1)
                )
                or any(name[i:] in self._plain for i in range(1, len(name) - 2) if "." in name[i:])
                or self._pattern.fullmatch(name)
            ):
                yield path
