"""What a job did to its process is taken back, so that the next one finds none of it.

A worker serves one job after another, since importing a framework takes longer than many jobs do.
The user's own modules are imported anew for each, where one may have left something; of what
libraries keep, `settings` knows the most common. A stage that changes more sets it back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence

from edgepipe import usercode
from edgepipe.executor import Job
from edgepipe.worker.importing import Importing
from edgepipe.worker.modulestate import UnknownError, state
from edgepipe.worker.settings import Settings

_INSTALLED = (
    os.path.dirname(os.__file__),  # noqa: PTH120
    *(entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))),
)
_OURS = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120


class Isolation:
    """A process as it was when this was made."""

    def __init__(self) -> None:
        self._path = list(sys.path)
        self._seen = set(sys.modules)
        self._stage = ("", "")
        self._folders: tuple[list[str], str] = [], ""
        """Those of the user's code, and that of a package of stages which is not the user's."""
        self._before: object = None
        self._folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        self._mask = os.umask(0)
        os.umask(self._mask)
        self._settings = Settings()
        self._importing = Importing(self._stays, self._settings.imports)

    @contextlib.contextmanager
    def job(self, job: Job) -> Iterator[None]:
        """Let a job run, and then be as before."""
        if (stage := (job.root, job.path)) != self._stage:
            self._forget()
            self._stage = stage
        packages = "" if job.plugin else job.root
        self._folders = [job.project, *job.plugins], packages
        sys.meta_path.insert(0, self._importing)
        try:
            with warnings.catch_warnings():
                yield
        finally:
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(self._importing)
            self._restore()

    def loaded(self) -> None:
        """The stage's class was imported, and has not run yet."""
        with contextlib.suppress(UnknownError):
            modules = [sys.modules[name] for name in sorted(self._users())]
            self._before = state(modules)

    def _users(self) -> set[str]:
        """The user's modules: those that are not part of what stays."""
        found = set()
        for name in sys.modules.keys() - self._seen:
            module = sys.modules.get(name)
            if self._stays(name, usercode.file_of(module) if module is not None else ""):
                self._seen.add(name)
            else:
                found.add(name)
        return found

    def _stays(self, name: str, file: str) -> bool:
        """Whether a module is not the user's."""
        if name.startswith((f"{usercode.PACKAGE}.", "edgepipe_user_")):
            return False
        users, packages = self._folders
        package = [f"{packages}/{name.partition('.')[0]}"] if packages else []
        return not _below(file, users) or _below(file, (_OURS, *_INSTALLED, *package))

    def _forget(self) -> None:
        for name in self._users():
            sys.modules.pop(name, None)

    def _is_as_loaded(self) -> bool:
        """Whether all modules of the user's are there since before the stage ran, unchanged."""
        with contextlib.suppress(UnknownError):
            modules = [sys.modules[name] for name in sorted(self._users())]
            return self._before is not None and state(modules) == self._before
        return False

    def _restore(self) -> None:
        usercode.start([])
        # A module may have set it when it was imported: it does so again only where it is anew.
        changed = self._is_changed()
        self._put_back()
        if self._settings.restore() or changed or not self._is_as_loaded():
            self._forget()
        self._before = None

    def _is_changed(self) -> bool:
        """Whether something of the process is not as it was."""
        try:
            is_there = os.path.samestat(os.stat("."), os.fstat(self._folder))  # noqa: PTH116
        except OSError:
            is_there = False
        mask = os.umask(self._mask)
        return (
            not is_there
            or mask != self._mask
            or self._elsewhere(sys.path) != self._elsewhere(self._path)
        )

    def _elsewhere(self, entries: Sequence[str]) -> list[str]:
        """Of a path of modules what is not the user's: that is put there for each job."""
        return [entry for entry in entries if not _below(entry, self._folders[0])]

    def _put_back(self) -> None:
        sys.path[:] = self._path
        os.fchdir(self._folder)
        os.umask(self._mask)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if decimal := sys.modules.get("decimal"):
            decimal.getcontext().clear_flags()


def _below(file: str, folders: Sequence[str]) -> bool:
    return any(file == folder or file.startswith(f"{folder}/") for folder in folders)
