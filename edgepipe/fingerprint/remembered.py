"""Fingerprints that parse a file again only when it changed, from one run to the next."""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepipe.digest import digest_bytes
from edgepipe.errors import ConfigError
from edgepipe.filestate import FileState
from edgepipe.fingerprint import Fingerprints
from edgepipe.fingerprint.unit import Unit, read_unit
from edgepipe.usercode import drop_stale_bytecode
from edgepipe.watch import Stamp, names_in, stamp_of, state_of


class RememberingFingerprints(Fingerprints):
    """Keeps what it read in a `FileState`."""

    def __init__(
        self, roots: Sequence[Path], packages: Mapping[Path, frozenset[str]], files: FileState
    ) -> None:
        super().__init__(roots, packages)
        self._given = roots, packages, files
        self._files = files
        self._latest: RememberingFingerprints | None = None
        self.states: dict[str, Stamp] = {}
        """Each file of code as it was when it was read; see `edgepipe.watch.state_of`."""
        self._stamps: dict[Path, Stamp] = {}
        """Files that code may read, as they were when they were read here."""
        self._digests: dict[Path, str] = {}
        """What these held then."""
        self._stated: dict[frozenset[Path], dict[str, Stamp]] = {}

    def edited(self) -> bool:
        """Whether a file of code is not as it was when it was read."""
        return any(state_of(path) != state for path, state in self.states.items())

    def anew(self) -> RememberingFingerprints:
        """The same, having read nothing yet."""
        return RememberingFingerprints(*self._given)

    def latest(self) -> RememberingFingerprints:
        """What is there now: these, or others that read all again."""
        known = self._latest or self
        if known.outdated:
            known = self._latest = self.anew()
        return known

    @property
    def outdated(self) -> bool:
        """Whether what was found out may be something else by now."""
        return (
            self.edited()
            or self.modules.relisted()
            or any(stamp_of(str(path)) != stamp for path, stamp in self._stamps.items())
            or any(names_in(str(path)) != names for path, names in self.modules.listed.items())
        )

    def keep_what_is_no_code(self, older: RememberingFingerprints) -> None:
        """Know files that code may read, and folders, as an older one found them."""
        self._stamps, self._digests = dict(older._stamps), dict(older._digests)
        self.modules.listed |= older.modules.listed

    def touched(self, files: Iterable[Path]) -> None:
        """Know files that code may read as they are now, if they hold what they held."""
        for path in files:
            now = stamp_of(str(path))
            if now is not None and now != self._stamps.get(path):
                with contextlib.suppress(ConfigError):
                    if self._files.digest(path) == self._digests.get(path):
                        self._stamps[path] = now

    def _read(self, path: Path, package: tuple[str, ...]) -> Unit:
        def find(path: Path) -> Any:
            drop_stale_bytecode(path)
            return read_unit(path, package).plain()

        state = state_of(str(path))
        if state is not None:
            self.states[str(path)] = state
        # The package decides what relative imports mean.
        what = f"unit {_reader()} {'.'.join(package)}"
        for _ in range(2):
            with contextlib.suppress(TypeError, ValueError, AttributeError):
                return Unit.of_plain(self._files.fact(what, path, find))
            self._files.forget(what, path)
        return read_unit(path, package)

    def states_of(self, files: frozenset[Path]) -> dict[str, Stamp]:
        """How some files of code were when they were read here; see `edgepipe.watch.state_of`."""
        if files not in self._stated:
            self._stated[files] = {path: self.states.get(path) for path in map(str, files)}
        return self._stated[files]

    def stamps_of(self, files: frozenset[Path]) -> dict[str, Stamp]:
        """The same of files that code may read; see `edgepipe.watch.stamp_of`."""
        return {str(path): self._stamps.get(path) for path in files}

    def _data(self, path: Path) -> str:
        self._stamps.setdefault(path, stamp_of(str(path)))
        digest = self._files.digest(path)
        self._digests.setdefault(path, digest)
        return digest


def by_root(packages: Iterable[Path], own: Collection[Path]) -> dict[Path, frozenset[str]]:
    """The names of packages by the folder that each is imported from.

    Args:
        packages: their folders.
        own: folders all of which is the user's own, whatever else stands in them.
    """
    names: dict[Path, frozenset[str]] = {}
    for package in packages:
        if package.parent not in own:
            names[package.parent] = names.get(package.parent, frozenset()) | {package.name}
    return names


@functools.cache
def _reader() -> str:
    """Changes with the code that reads files, and with Python's syntax trees."""
    bodies = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    version = platform.python_version().encode()
    return digest_bytes("reader", b"\0".join([version, *bodies]))[:16]
