"""What one piece of code leads to directly: modules that it loads, definitions that it takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgepipe.errors import ConfigError
from edgepipe.fingerprint.modules import ENGINE, ENGINE_FOLDER, Modules, Place
from edgepipe.fingerprint.names import Import
from edgepipe.fingerprint.unit import Fragment, Unit

_CONTRACT = ("edgepipe.stage", "edgepipe.units")
"""What of the engine makes part of a result: how artifacts are saved, what a context gives."""

Read = Callable[[Place], Unit]


@dataclass
class Links:
    """Where a piece of code leads."""

    loads: dict[Place, None] = field(default_factory=dict)
    """Files that are imported when it runs."""
    takes: dict[tuple[Place, str], None] = field(default_factory=dict)
    """Definitions that it refers to."""
    wholes: dict[Place, None] = field(default_factory=dict)
    """Files of which it may refer to anything."""
    foreign: set[str] = field(default_factory=set)
    """Top-level modules that are not followed."""
    passed: set[tuple[Place, Import]] = field(default_factory=set)
    """Imports of these in one file, through which it gets at them from another."""
    data: dict[Path, Path] = field(default_factory=dict)
    """Files that are no code, with the folder that their names begin at."""


class Linker:
    """Finds and remembers links.

    Args:
        modules: the modules that are followed.
        unit: reads a file.
        folder: where code is imported from beside the modules' roots.
    """

    def __init__(self, modules: Modules, unit: Read, folder: Path | None) -> None:
        self.modules = modules
        self.unit = unit
        self.folder = folder
        self._loading: dict[Path, Links] = {}
        self._definitions: dict[tuple[Path, str], Links] = {}
        self._wholes: dict[Path, Links] = {}
        self._tops: dict[Path, frozenset[str]] = {}

    def loading(self, place: Place) -> Links:
        """Of a file that is imported: of what runs then."""
        if place[0] not in self._loading:
            collector = self._collector()
            collector.import_file(place)
            self._loading[place[0]] = collector.links
        return self._loading[place[0]]

    def program(self, place: Place) -> Links:
        """Of a file that is started as a program: of what runs only then."""
        collector = self._collector()
        if (main := self.unit(place).main) is not None:
            collector.follow(place, main)
        return collector.links

    def definition(self, place: Place, name: str) -> Links:
        """Of a definition, or of a name that an import binds."""
        if (place[0], name) not in self._definitions:
            collector = self._collector()
            collector.use_name(place, name)
            self._definitions[place[0], name] = collector.links
        return self._definitions[place[0], name]

    def whole(self, place: Place) -> Links:
        """Of a file all of which may be meant."""
        if place[0] not in self._wholes:
            unit, links = self.unit(place), Links({place: None})
            for name in [*unit.definitions, *(i.local for i in unit.imports if i.local)]:
                links.takes[place, name] = None
            self._wholes[place[0]] = links
        return self._wholes[place[0]]

    def is_followed(self, top: str) -> bool:
        """Whether a top-level module is one's own."""
        return bool(self.modules.tops(top, self.folder))

    def tops(self, place: Place) -> frozenset[str]:
        """The top-level modules that a file imports somewhere."""
        if place[0] not in self._tops:
            unit = self.unit(place)
            imports = [*unit.imports, *(i for f in unit.definitions.values() for i in f.imports)]
            self._tops[place[0]] = frozenset(i.module.partition(".")[0] for i in imports)
        return self._tops[place[0]]

    def _collector(self) -> _Collector:
        return _Collector(self.modules, self.unit, self.folder)


@dataclass
class _Collector:
    """Collects the links of one piece of code."""

    modules: Modules
    unit: Read
    folder: Path | None
    links: Links = field(default_factory=Links)
    seen: set[tuple[Place, Import, str]] = field(default_factory=set)

    def load(self, place: Place) -> Unit:
        self.links.loads[place] = None
        return self.unit(place)

    def take(self, place: Place, name: str) -> None:
        self.links.takes[place, name] = None

    def take_whole(self, place: Place) -> None:
        self.links.wholes[place] = None

    def import_file(self, place: Place) -> None:
        """What importing a file leads to."""
        unit = self.unit(place)
        for package in self._packages_above(place):
            self.load(package)
        if in_engine(place[0]):
            return
        if unit.rest:
            self.follow(place, unit.rest)
        for item in unit.imports:
            self._load_import(item, place)
        for name in unit.always:
            self.take(place, name)
        if "__getattr__" in unit.definitions:
            self.take(place, "__getattr__")
        self._traits(place, unit)

    def _packages_above(self, place: Place) -> Iterator[Place]:
        path, root = place
        for folder in path.relative_to(root).parents:
            self.modules.seek(root / folder)
            init = root / folder / "__init__.py"
            if folder.parts and init.is_file() and init != path:
                yield init, root

    def use_name(self, place: Place, name: str) -> None:
        """What a definition refers to, or what an import binds to a name."""
        unit = self.load(place)
        fragment = unit.definitions.get(name)
        if fragment is not None:
            self.follow(place, fragment)
        for item in unit.imports:
            if item.local == name:
                self._import(item, [], place, outside=True)

    def _traits(self, place: Place, unit: Unit) -> None:
        if unit.traits.opaque:
            self.take_whole(place)

    def follow(self, place: Place, fragment: Fragment) -> None:
        """What a piece of a file leads to."""
        unit = self.unit(place)
        local: dict[str, list[Import]] = {}
        for item in fragment.imports:
            self._load_import(item, place)
            local.setdefault(item.local, []).append(item)
        for item in () if in_engine(place[0]) else unit.imports:
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
            if not in_engine(place[0]):
                self._take_pattern(item.module, place)
            return
        if not in_engine(place[0]) and self.unit(place).traits.searches:
            for found in self.modules.hidden(item.module):
                self.take_whole(found)
        if item.attribute == "*":
            self._take_module(item.module, folder)
            return
        modules = [item.module, *([f"{item.module}.{item.attribute}"] if item.attribute else [])]
        for module in modules:
            self._load_module(module, folder)

    def _take_pattern(self, pattern: str, place: Place) -> None:
        """All modules that a name may mean of which only parts are known."""
        home = self.modules.home(place)
        for path, root in self.modules.below(pattern, home):
            if not is_python(self.unit, (path, root)):
                self.links.data[path] = root
                continue
            for package in self._packages_above((path, root)):
                self.load(package)
            self.take_whole((path, root))

    def _load_module(self, module: str, folder: Path | None) -> bool:
        """Load a module, and the packages that it is in; False if it is nobody's own."""
        top = module.partition(".")[0]
        if not self.modules.tops(top, folder):
            if top and top not in sys.stdlib_module_names:
                self.links.foreign.add(top)
            return False
        if top == ENGINE and module not in _CONTRACT:
            return False
        if self.modules.is_also_installed(top):
            self.links.foreign.add(top)
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            for place in self.modules.files_of(".".join(parts[:depth]), folder):
                self.load(place)
            self.links.data |= dict(self.modules.compiled(".".join(parts[:depth]), folder))
        return True

    def _take_module(self, module: str, folder: Path | None) -> None:
        self._load_module(module, folder)
        if module.partition(".")[0] == ENGINE and module not in _CONTRACT:
            return
        places = self.modules.files_of(module, folder)
        while not places and "." in module:
            # The last part names something in the module.
            module = module.rpartition(".")[0]
            places = self.modules.files_of(module, folder)
        for place in places:
            self.take_whole(place)
            # What a package's __all__ names may be modules: a star binds these too.
            for name in self.unit(place).traits.exports:
                if self._is_module(f"{module}.{name}", folder):
                    self._take_module(f"{module}.{name}", folder)

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
                self.links.passed.add((place, item))
            return
        while chain and self._is_module(f"{module}.{chain[0]}", folder):
            for found in self.modules.files_of(module, folder):
                # The package may bind the name of its module to something else.
                self._take_name(found, chain)
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
            step = (place, item, ".".join(chain))
            if item.local == name and step not in self.seen:
                self.seen.add(step)
                self._import(item, chain[1:], place, outside=True)


def is_python(read: Read, place: Place) -> bool:
    """Whether a file that code may mean is one of code; if it is none, it counts by its bytes."""
    try:
        read(place)
    except ConfigError:
        return False
    return place[0].suffix == ".py"


def in_engine(path: Path) -> bool:
    """Whether a file is of the engine."""
    return path.parent == ENGINE_FOLDER
