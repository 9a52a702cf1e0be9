"""Follows links from one piece of code until nothing new is reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepipe.digest import digest_bytes
from edgepipe.fingerprint.datafiles import DataFiles, finds_files
from edgepipe.fingerprint.links import Linker, Links, in_engine, is_python
from edgepipe.fingerprint.modules import Place
from edgepipe.fingerprint.names import Import
from edgepipe.fingerprint.unit import DATA, DOCSTRINGS, MAIN, MODULE, SOURCE, Unit


class Walk:
    """One search, from one file.

    Args:
        linker: finds links.
        files: finds the files that code reads.
        start: the file.
        name: the definition in it that is meant; None, or one that is not there: all of it.
    """

    def __init__(self, linker: Linker, files: DataFiles, start: Place, name: str | None) -> None:
        self._linker = linker
        self._files = files
        self._loaded: dict[Path, Place] = {}
        self._taken: set[tuple[Path, str]] = set()
        self._whole: set[Path] = set()
        self._passed: set[tuple[Place, Import]] = set()
        self._data: dict[Path, Path] = {}
        self.seeks = False
        """It may read files beside itself."""
        self.foreign: set[str] = set()
        self._loose: set[str] = set()
        self._heirs: set[str] = set()
        self._started: set[Place] = set()
        self._everywhere = False
        self._finds_code = False
        """It finds files of code by their paths."""
        self._waiting: list[Links] = []
        definitions = linker.unit(start).definitions
        first = Links({start: None}, {(start, n): None for n in definitions if name in {n, None}})
        if name is not None and name not in definitions:
            first.wholes[start] = None
        self._run(first)

    def _run(self, first: Links) -> None:
        self._waiting.append(first)
        while self._waiting:
            while self._waiting:
                self._go(self._waiting.pop())
            if self._everywhere or self._loose or self._heirs:
                self._waiting = [hidden] if (hidden := self._hidden()).takes else []
            self._find_files()
            self._start_programs()

    def _go(self, links: Links) -> None:
        for place in links.loads:
            if place[0] not in self._loaded:
                self._loaded[place[0]] = place
                self._waiting.append(self._linker.loading(place))
                if not in_engine(place[0]):
                    traits = self._linker.unit(place).traits
                    self._everywhere |= traits.everywhere
                    self._loose.update(traits.loose)
                    for module in traits.heirs:
                        top = module.partition(".")[0]
                        if not top or self._linker.is_followed(top):
                            self._everywhere = True
                        self._heirs.add(top)
        for place, name in links.takes:
            if (place[0], name) not in self._taken:
                self._taken.add((place[0], name))
                self._waiting.append(self._linker.definition(place, name))
        for place in links.wholes:
            if place[0] not in self._whole:
                self._whole.add(place[0])
                self._waiting.append(self._linker.whole(place))
        self.foreign |= links.foreign
        self._passed |= links.passed
        self._data |= links.data

    @property
    def files(self) -> frozenset[Path]:
        """The files of code that are loaded, without those of the engine."""
        return frozenset(path for path in self._loaded if not in_engine(path))

    @property
    def rereads(self) -> bool:
        """Whether it may read files again that are loaded."""
        theirs = self._theirs()
        return self._finds_code or any(u.traits.rereads or u.paths.reads_code for u in theirs)

    @property
    def data(self) -> frozenset[Path]:
        """The files that are no code and that may be read."""
        return frozenset(self._data)

    def _find_files(self) -> None:
        """What the files that are loaded may read beside themselves."""
        units = {p: self._linker.unit(p) for p in self._loaded.values() if not in_engine(p[0])}
        self.seeks = self.seeks or any(map(finds_files, units.values()))
        code: dict[Place, None] = {}
        found = self._files.read_by(units)
        self._data |= found.texts
        for place in found.files.items():
            if place[0].suffix == ".py" and is_python(self._linker.unit, place):
                code[place] = None
                self._finds_code = True
            else:
                self._data[place[0]] = place[1]
        if any(path not in self._whole for path, _ in code):
            self._waiting.append(Links(wholes=code))

    def _start_programs(self) -> None:
        """What files do that may be started as programs."""
        if any(unit.traits.runs for unit in self._theirs()):
            for place in self._loaded.values():
                if place not in self._started and not in_engine(place[0]):
                    self._started.add(place)
                    self._waiting.append(self._linker.program(place))

    def _theirs(self) -> list[Unit]:
        """The files that are loaded, without those of the engine."""
        loaded = self._loaded.values()
        return [self._linker.unit(place) for place in loaded if not in_engine(place[0])]

    def _hidden(self) -> Links:
        """What may be found by its name, or by looking everywhere, in what is loaded."""
        return Links(
            takes={
                (place, name): None
                for path, place in self._loaded.items()
                for name in self._linker.unit(place).definitions
                if (path, name) not in self._taken
                and (
                    self._everywhere
                    or name in self._loose
                    or not self._heirs.isdisjoint(self._linker.tops(place))
                )
            }
        )

    def code(self, read: Callable[[Path], str]) -> dict[str, str]:
        """Digests by name. ``read`` gives the digest of a file that is no code."""
        units = {path: self._linker.unit(place) for path, place in self._loaded.items()}
        traits = [unit.traits for unit in self._theirs()]
        docstrings = any(t.docstrings for t in traits)
        docstrings |= any(t.fields for t in traits) and any(t.describes for t in traits)
        sources = any(u.traits.sources or u.paths.reads_code for u in self._theirs())
        parts: list[tuple[str, str, str]] = []
        files = {path: _file(place) for path, place in self._loaded.items()}
        for path, name in self._taken:
            fragment = units[path].definitions.get(name)
            if fragment is not None:
                parts.append((f"{files[path]}:{name}", str(path), fragment.digest))
        for path, unit in units.items():
            file = files[path]
            if in_engine(path):
                continue
            if unit.rest:
                parts.append((f"{file}:{MODULE}", str(path), unit.rest.digest))
            if unit.main and self._started:
                parts.append((f"{file}:{MAIN}", str(path), unit.main.digest))
            if docstrings and unit.docstrings:
                parts.append((f"{file}:{DOCSTRINGS}", str(path), unit.docstrings))
            if sources:
                parts.append((f"{file}:{SOURCE}", str(path), read(path)[:32]))
        for place, item in self._passed:
            text = f"import {item.module} {item.attribute}".encode()
            name = f"{_file(place)}:{item.local}"
            parts.append((name, str(place[0]), digest_bytes("code", text)[:32]))
        for path, root in self._data.items():
            file = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            parts.append((f"{file}:{DATA}", str(path), read(path)[:32]))
        return _named(parts)


def _file(place: Place) -> str:
    return place[0].relative_to(place[1]).as_posix()


def _named(parts: list[tuple[str, str, str]]) -> dict[str, str]:
    """Two files of one name, from two folders, both count."""
    code: dict[str, str] = {}
    for name, _, digest in sorted(parts):
        number, free = 1, name
        while free in code:
            number += 1
            file, _, part = name.rpartition(":")
            free = f"{file} ({number}):{part}"
        code[free] = digest
    return dict(sorted(code.items()))
