"""What code a stage depends on, found without importing it.

From the file of a stage, names are followed from definition to definition and from file to file,
as long as they lead into the same packages of stages, or into the user's project; what is
installed counts by its version instead. A file that is imported counts by what runs when it is,
and by those of its definitions that something refers to. Where code hides what it refers to
(``from x import *``, ``import_module(name)``, a module handed about as a value), all that it
could mean counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepipe.digest import digest_file
from edgepipe.errors import ConfigError
from edgepipe.fingerprint.datafiles import DataFiles
from edgepipe.fingerprint.links import Linker
from edgepipe.fingerprint.modules import Modules, Place
from edgepipe.fingerprint.reach import Walk
from edgepipe.fingerprint.unit import Unit, read_unit

Code = Mapping[str, str]
"""``FILE:DEFINITION`` → digest; the file relative to the root that it was imported from."""


@dataclass(frozen=True)
class Reached:
    """What one stage, or one piece of the user's code, depends on."""

    code: Code
    foreign: frozenset[str]
    """Top-level modules that its code imports from elsewhere, those of Python left out."""
    files: frozenset[Path] = frozenset()
    """Files of code that it loads, those of the engine left out."""
    data: frozenset[Path] = frozenset()
    """Files that are no code and that it may read."""
    seeks: bool = False
    """It may read files, also such as are not there yet."""
    rereads: bool = False
    """It may read files of code again that it has loaded, as their source or in new processes."""


def together(*parts: Reached) -> Reached:
    """What several of them depend on; what two call alike and is not alike counts twice."""
    return Reached(
        joined(*(part.code for part in parts)) if len(parts) > 1 else parts[0].code,
        frozenset().union(*(part.foreign for part in parts)),
        frozenset().union(*(part.files for part in parts)),
        frozenset().union(*(part.data for part in parts)),
        any(part.seeks for part in parts),
        any(part.rereads for part in parts),
    )


NOTHING = Reached({}, frozenset())
"""Where there is no code."""


class Fingerprints:
    """Fingerprints of code below some folders; every file is read once.

    Args:
        roots: folders from which modules are imported.
        packages: for those of the roots that hold more than one's own code (such as
            ``site-packages``), the names of the packages to look into.
    """

    def __init__(
        self, roots: Sequence[Path], packages: Mapping[Path, frozenset[str]] | None = None
    ) -> None:
        self.modules = Modules(roots, packages)
        self._files_read = DataFiles(self.modules)
        self._units: dict[Path, Unit] = {}
        self._linkers: dict[Path | None, Linker] = {}
        self._reached: dict[tuple[Path, Path, str | None], Reached] = {}

    def of(self, path: Path, root: Path) -> Code:
        """Digest the code that the file ``path``, imported from the folder ``root``, reaches.

        Raises:
            ConfigError: a file cannot be read or parsed.
        """
        return self.reach(path, root).code

    def reach(self, path: Path, root: Path, name: str | None = None) -> Reached:
        """The same, and what it needs from elsewhere; of one definition of the file, or of all.

        Raises:
            ConfigError: a file cannot be read or parsed.
        """
        identity = (path, root, name)
        if identity not in self._reached:
            # A file that a parameter names finds what lies beside it; a stage does not.
            folder = path.parent if name is not None else None
            if folder not in self._linkers:
                self._linkers[folder] = Linker(self.modules, self._unit, folder)
            walk = Walk(self._linkers[folder], self._files_read, (path, root), name)
            self._reached[identity] = Reached(
                walk.code(self._data),
                frozenset(walk.foreign),
                walk.files,
                walk.data,
                walk.seeks,
                walk.rereads,
            )
        return self._reached[identity]

    def _unit(self, place: Place) -> Unit:
        path, root = place
        if path not in self._units:
            self._units[path] = self._read(path, path.relative_to(root).parts[:-1])
        return self._units[path]

    def _read(self, path: Path, package: tuple[str, ...]) -> Unit:
        return read_unit(path, package)

    def _data(self, path: Path) -> str:
        try:
            return digest_file(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def joined(*codes: Code) -> dict[str, str]:
    """All of several fingerprints; what two of them call alike and is not alike counts twice."""
    found: dict[str, str] = {}
    for code in codes:
        for name, digest in code.items():
            free, number = name, 1
            while found.setdefault(free, digest) != digest:
                number += 1
                file, _, part = name.rpartition(":")
                free = f"{file} ({number}):{part}"
    return dict(sorted(found.items()))
