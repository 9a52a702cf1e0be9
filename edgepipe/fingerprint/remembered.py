"""Fingerprints that parse a file again only when it changed, from one run to the next."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepipe.digest import digest_bytes
from edgepipe.filestate import FileState
from edgepipe.fingerprint import Fingerprints
from edgepipe.fingerprint.unit import Unit, read_unit
from edgepipe.usercode import drop_stale_bytecode
from edgepipe.watch import Stamp, stamp_of

State = tuple[int, int, int, int]
"""Inode, size, time of writing and of change of a file, in ns."""


class RememberingFingerprints(Fingerprints):
    """Keeps what it read in a `FileState`."""

    def __init__(
        self, roots: Sequence[Path], packages: Mapping[Path, frozenset[str]], files: FileState
    ) -> None:
        super().__init__(roots, packages)
        self._files = files
        self.states: dict[str, State] = {}
        """Each file of code as it was when it was read."""
        self._stamps: dict[Path, Stamp] = {}
        """Files that code may read, as they were when they were read here."""
        self._stamped: dict[frozenset[Path], dict[str, Stamp]] = {}

    def edited(self) -> list[str]:
        """Files of code that are not as they were when they were read."""
        return [path for path, state in self.states.items() if state_of(path) != state]

    def keep_what_is_no_code(self, older: RememberingFingerprints) -> None:
        """Know files that code may read, and folders, as an older one found them."""
        self._stamps = dict(older._stamps)
        self.modules.listed |= older.modules.listed

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

    def stamps(self, files: frozenset[Path]) -> dict[str, Stamp]:
        """How some files were when they were read here: of code, or such as code may read."""
        if files not in self._stamped:
            found: dict[str, Stamp] = {}
            for path in map(str, files):
                state = self.states.get(path)
                found[path] = list(state[:3]) if state else self._stamps.get(Path(path))
            self._stamped[files] = found
        return self._stamped[files]

    def _data(self, path: Path) -> str:
        self._stamps.setdefault(path, stamp_of(str(path)))
        return self._files.digest(path)


def state_of(path: str) -> State | None:
    """A file's state; None where it is gone."""
    try:
        info = os.stat(path)  # noqa: PTH116  a Path costs more than the call
    except OSError:
        return None
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


@functools.cache
def _reader() -> str:
    """Changes with the code that reads files, and with Python's syntax trees."""
    bodies = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    version = platform.python_version().encode()
    return digest_bytes("reader", b"\0".join([version, *bodies]))[:16]
