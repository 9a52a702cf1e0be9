"""Builds environments.

A build holds a lock on the environment's name in the shared folder, writes at the final place
(a venv cannot be moved) and puts the marker there last: what was killed on the way has none, and
is removed by the next build. pip inherits the lock, so that one that outlives a killed sync
still keeps others away.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepipe.environments import MARKER, Environment, marker
from edgepipe.environments.pip import interpreter, make_venv, pip_install
from edgepipe.errors import ConfigError, EdgepipeError
from edgepipe.units import plural

Tell = Callable[[str], None]
"""Takes a line that says what is going on: these things take minutes."""


@dataclass(frozen=True)
class Built:
    """A built environment."""

    folder: Path
    seconds: float
    """0 if it was there already."""
    size: int
    """Bytes."""


def sync(environment: Environment, home: Path, tell: Tell, python: Path | None = None) -> Built:
    """Build an environment, unless it is there. Two at once build it once.

    Raises:
        ConfigError: there is no lock that fits, or no interpreter.
        EdgepipeError: a package cannot be had, or fails its hash; nothing is left behind.
    """
    problem = environment.problem()
    if problem is not None:
        raise ConfigError(problem)
    if environment.built(home):
        return _existing(environment.folder(home))
    found = interpreter(environment, python)
    folder = environment.folder(home)
    with _exclusive(folder, tell) as descriptor:
        if environment.built(home):
            return _existing(folder)
        _remove(folder)
        assert environment.lock is not None
        tell(f"building {environment.name}: {plural(len(environment.lock.packages), 'package')}")
        began = time.monotonic()
        try:
            make_venv(found, folder)
            _install(environment, folder, descriptor)
            size = _size(folder)
            seconds = time.monotonic() - began
            _finish(environment, folder, size, seconds)
        except BaseException:
            _remove(folder)
            raise
    return Built(folder, seconds, size)


def _existing(folder: Path) -> Built:
    return Built(folder, 0.0, int((marker(folder) or {}).get("size", 0)))


def remove(folder: Path, tell: Tell) -> None:
    """Remove a built environment, after a sync that is at work on it."""
    with _exclusive(folder, tell):
        _remove(folder)


def _remove(folder: Path) -> None:
    # Without its marker it is no environment any more, however far this comes.
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _exclusive(folder: Path, tell: Tell) -> Iterator[int]:
    """Be the only one that works on an environment, among all processes of this machine."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.busy")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("another process works on it: waiting")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had it before has removed the file: then this lock is nobody's.
            same = False
            with contextlib.suppress(FileNotFoundError):
                same = os.path.samestat(os.fstat(descriptor), path.stat())
            if same:
                try:
                    yield descriptor
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _install(environment: Environment, folder: Path, descriptor: int) -> None:
    # Only what is used is compiled, when it is imported: that halves the time of a build.
    arguments = ["--require-hashes", "--no-deps", "--no-compile"]
    done = pip_install(folder, [*arguments, "-r", str(environment.lock_path)], (descriptor,))
    if not done.failed:
        return
    subject = f"the environment '{environment.name}' cannot be built"
    wrong = re.search(
        r"^\s*(\S+) from .*?\n\s*Expected sha256 (\w+)\n\s*Got\s+(\w+)", done.output, re.MULTILINE
    )
    if wrong:
        message = f"{subject}: {wrong[1]} does not match its hash in {environment.lock_path.name}"
        hint = (
            f"expected sha256 {wrong[2]}\nfound           {wrong[3]}\nif the new file is to be"
            f" trusted: edgepipe env lock {environment.name}"
        )
        raise EdgepipeError(message, hint)
    first, *rest = done.errors or [f"pip ended with status {done.code}"]
    raise EdgepipeError(f"{subject}: {first}", "\n".join(rest[:4]))


def _finish(environment: Environment, folder: Path, size: int, seconds: float) -> None:
    assert environment.lock is not None
    value = {
        "name": environment.name,
        "lock": environment.lock.digest,
        "python": environment.python,
        "packages": {name: p.version for name, p in environment.lock.packages.items()},
        "size": size,
        "seconds": round(seconds, 1),
        "created": time.time(),
    }
    # All files before the marker: after a power loss the marker speaks for them.
    os.sync()
    temporary = folder / f"{MARKER}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / MARKER)


def _size(folder: Path) -> int:
    files = (path.lstat() for path in folder.rglob("*"))
    return sum(about.st_size for about in files)
