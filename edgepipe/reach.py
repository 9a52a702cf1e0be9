"""Follows names from definition to definition and from file to file."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgepipe.digest import digest_bytes
from edgepipe.modules import ENGINE, ENGINE_FOLDER, Modules, Place
from edgepipe.pythonfile import DATA, DOCSTRINGS, MAIN, MODULE, Fragment, Unit
from edgepipe.pythonnames import Import

_CONTRACT = ("edgepipe.stage", "edgepipe.units")
"""What of the engine makes part of a result: how artifacts are saved, what a context gives."""


@dataclass
class Walk:
    """One search: what has been reached, and what is still to be looked into."""

    modules: Modules
    unit: Callable[[Place], Unit]
    read: Callable[[Path], str]
    """Digest of a file that is no code."""
    folder: Path | None = None
    """Where code is imported from beside the roots."""
    loaded: dict[Path, Place] = field(default_factory=dict)
    done: set[tuple[Path, str]] = field(default_factory=set)
    whole: set[Path] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    passed: set[tuple[Path, Import]] = field(default_factory=set)
    """Imports of what is not followed, through which another file gets at it."""
    waiting: list[Callable[[], None]] = field(default_factory=list)
    data: dict[Path, Path] = field(default_factory=dict)
    everywhere: bool = False

    def start(self, place: Place, name: str | None) -> None:
        unit = self.load(place)
        names = [name] if name in unit.definitions else list(unit.definitions)
        for each in names:
            self.take(place, each)
        if name is not None and name not in unit.definitions:
            self.take_whole(place)
        while self.waiting:
            self.waiting.pop()()
            if not self.waiting and (self.everywhere or self.loose):
                self._take_hidden()

    def _take_hidden(self) -> None:
        for place in list(self.loaded.values()):
            for name in self.unit(place).definitions:
                if self.everywhere or name in self.loose:
                    self.take(place, name)

    def load(self, place: Place) -> Unit:
        """A file is imported: what runs then is reached."""
        path = place[0]
        unit = self.unit(place)
        if path in self.loaded:
            return unit
        self.loaded[path] = place
        for package in _packages_above(place):
            self.load(package)
        if _in_engine(path):
            return unit
        if unit.rest:
            self._follow(place, unit.rest)
        for item in unit.imports:
            self._load_import(item, place)
        for name in unit.always:
            self.take(place, name)
        if "__getattr__" in unit.definitions:
            self.take(place, "__getattr__")
        self._traits(place, unit)
        return unit

    def _traits(self, place: Place, unit: Unit) -> None:
        path, root = place
        traits = unit.traits
        if traits.opaque:
            self.take_whole(place)
        self.everywhere |= traits.everywhere
        self.loose |= set(traits.loose)
        if traits.up >= 0:
            bases = [path.parent, *path.parent.parents]
            base = bases[min(traits.up, len(path.relative_to(root).parts) - 1)]
            self._beside(base, place, traits.texts)
        for package in traits.resources:
            for base_root in self.modules.tops(package.partition(".")[0], self.folder):
                self._beside(base_root.joinpath(*package.split(".")), place, traits.texts)

    def _beside(self, base: Path, place: Place, texts: Sequence[str]) -> None:
        """Take the files below a folder that a file's constant texts name, or else all of it."""
        found = [p for p in _files_below(base) if p != place[0]]
        named = [p for p in found if _is_named(p.relative_to(base), texts)]
        if not named:
            named = [p for p in found if p.suffix != ".py" and p.parent == place[0].parent]
        for path in named:
            if path.suffix == ".py":
                self.take_whole((path, place[1]))
            else:
                self.data[path] = place[1]

    def take(self, place: Place, name: str) -> None:
        """A definition of a file is reached."""
        if (place[0], name) in self.done:
            return
        self.done.add((place[0], name))
        unit = self.load(place)
        fragment = unit.definitions.get(name)
        if fragment is not None:
            self.waiting.append(lambda: self._follow(place, fragment))
        for item in unit.imports:
            if item.local == name:
                self._import(item, [], place, outside=True)

    def take_whole(self, place: Place) -> None:
        """All of a file is reached."""
        if place[0] in self.whole:
            return
        self.whole.add(place[0])
        unit = self.load(place)
        for name in [*unit.definitions, *(i.local for i in unit.imports if i.local)]:
            self.take(place, name)

    def _follow(self, place: Place, fragment: Fragment) -> None:
        unit = self.unit(place)
        local: dict[str, list[Import]] = {}
        for item in fragment.imports:
            self._load_import(item, place)
            local.setdefault(item.local, []).append(item)
        for item in () if _in_engine(place[0]) else unit.imports:
            local.setdefault(item.local, []).append(item)
        for name in fragment.names:
            first, *attributes = name.split(".")
            if first in unit.definitions:
                self.take(place, first)
            for item in local.get(first, ()):
                self._import(item, attributes, place)

    def _load_import(self, item: Import, place: Place) -> None:
        """An import statement runs: the modules that it names are loaded."""
        folder = self.folder
        if "*" in item.module:
            if _in_engine(place[0]):
                return
            pattern = item.module if item.module != "*" else _own(place)
            for module in self.modules.below(pattern, folder):
                self._take_module(module, folder)
            if pattern == "*":
                for path in sorted(place[1].rglob("*.py")):
                    self.take_whole((path, place[1]))
            return
        if item.attribute == "*":
            self._take_module(item.module, folder)
            return
        modules = [item.module, *([f"{item.module}.{item.attribute}"] if item.attribute else [])]
        for module in modules:
            self._load_module(module, folder)

    def _load_module(self, module: str, folder: Path | None) -> bool:
        """Load a module, and the packages that it is in; False if it is nobody's own."""
        top = module.partition(".")[0]
        if not self.modules.tops(top, folder):
            if top and top not in sys.stdlib_module_names:
                self.foreign.add(top)
            return False
        if top == ENGINE and module not in _CONTRACT:
            return False
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            for place in self.modules.files_of(".".join(parts[:depth]), folder):
                self.load(place)
        return True

    def _take_module(self, module: str, folder: Path | None) -> None:
        self._load_module(module, folder)
        if module.partition(".")[0] == ENGINE and module not in _CONTRACT:
            return
        for place in self.modules.files_of(module, folder):
            self.take_whole(place)
            # What a package's __all__ names may be modules.
            for name in self.unit(place).definitions.get("__all__", Fragment("")).names:
                self._load_module(f"{module}.{name}", folder)

    def _import(
        self, item: Import, attributes: list[str], place: Place, *, outside: bool = False
    ) -> None:
        """An imported name is used, with what is taken from it; from ``outside`` of its file."""
        folder = self.folder
        if not item.local or "*" in item.module:
            return
        chain = [item.attribute, *attributes] if item.attribute else attributes
        module = item.module
        if not self._load_module(module, folder):
            if outside:
                self.passed.add((place[0], item))
            return
        while chain and self._is_module(f"{module}.{chain[0]}", folder):
            for found in self.modules.files_of(module, folder):
                if chain[0] in self.unit(found).definitions:
                    self.take(found, chain[0])
            module = f"{module}.{chain.pop(0)}"
            self._load_module(module, folder)
        if not chain or (chain[0].startswith("__") and chain[0].endswith("__")):
            # The module itself is handed about: anything of it may be meant.
            self._take_module(module, folder)
            return
        for found in self.modules.files_of(module, folder):
            self._take_name(found, chain)

    def _is_module(self, module: str, folder: Path | None) -> bool:
        return bool(self.modules.files_of(module, folder)) or self.modules.is_package(
            module, folder
        )

    def _take_name(self, place: Place, chain: list[str]) -> None:
        unit = self.load(place)
        name = chain[0]
        if name in unit.definitions:
            self.take(place, name)
        for item in unit.imports:
            if item.local == name and (place[0], ".".join(chain)) not in self.done:
                self.done.add((place[0], ".".join(chain)))
                self._import(item, chain[1:], place, outside=True)

    def code(self) -> dict[str, str]:
        """Digests by name."""
        units = {path: self.unit(place) for path, place in self.loaded.items()}
        theirs = [unit for path, unit in units.items() if not _in_engine(path)]
        runs = any(unit.traits.runs for unit in theirs)
        docstrings = any(unit.traits.docstrings for unit in theirs)
        parts: list[tuple[str, str, str]] = []
        for path, unit in units.items():
            file = path.relative_to(self.loaded[path][1]).as_posix()
            for name, fragment in unit.definitions.items():
                if (path, name) in self.done:
                    parts.append((f"{file}:{name}", str(path), fragment.digest))
            if _in_engine(path):
                continue
            if unit.rest:
                parts.append((f"{file}:{MODULE}", str(path), unit.rest.digest))
            if unit.main and runs:
                parts.append((f"{file}:{MAIN}", str(path), unit.main.digest))
            if docstrings and unit.docstrings:
                parts.append((f"{file}:{DOCSTRINGS}", str(path), unit.docstrings))
        for path, item in self.passed:
            text = f"import {item.module} {item.attribute}".encode()
            file = path.relative_to(self.loaded[path][1]).as_posix()
            parts.append((f"{file}:{item.local}", str(path), digest_bytes("code", text)[:32]))
        for path, root in self.data.items():
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            parts.append((f"{name}:{DATA}", str(path), self.read(path)[:32]))
        return _named(parts)


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


def _own(place: Place) -> str:
    """Pattern for all modules that may be meant by a name that is not known."""
    parts = place[0].relative_to(place[1]).parts
    return f"{parts[0]}.*" if len(parts) > 1 else "*"


def _packages_above(place: Place) -> Iterator[Place]:
    path, root = place
    for folder in path.relative_to(root).parents:
        init = root / folder / "__init__.py"
        if folder.parts and init.is_file() and init != path:
            yield init, root


def _in_engine(path: Path) -> bool:
    return path.parent == ENGINE_FOLDER


def _files_below(folder: Path | None) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__pycache__")))
        yield from (Path(here, name) for name in sorted(names) if not name.endswith(".pyc"))


def _is_named(path: Path, texts: Sequence[str]) -> bool:
    """Whether one of the texts names a file, a folder that it is in, or how its name ends."""
    for text in texts:
        if text == path.as_posix() or text in path.parts or path.as_posix().endswith(f"/{text}"):
            return True
        if "." in text and len(text) > 2 and path.name.endswith(text):
            return True
        if "*" in text and fnmatch.fnmatchcase(path.name, text.rpartition("/")[2]):
            return True
    return False
