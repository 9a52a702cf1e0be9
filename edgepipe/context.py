"""What a running stage is given."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepipe.artifact import Artifact
from edgepipe.errors import StageError
from edgepipe.holding import Hold
from edgepipe.usercode import import_user_object
from edgepipe.watch import Watch, changed_while_read

_hold = Hold()
"""This process's, on the scratch folder of the stage that it runs."""

Report = Callable[[str, dict[str, Any]], None]
"""Where a context sends what happens: the event's name and its data."""


@dataclass
class Context:
    """Everything that a running stage may touch."""

    node: str
    """The node's name in the pipeline."""
    seed: int
    """Seeds every random generator that the stage uses."""
    threads: int
    """How many threads it may keep busy."""
    scratch_path: Path
    project: Path
    """The project's folder: the user's code is imported from here."""
    input_types: Mapping[str, type[Artifact]]
    output_types: Mapping[str, type[Artifact]]
    input_paths: Mapping[str, Path]
    """Of the connected inputs."""
    output_paths: Mapping[str, Path]
    watch: Watch = field(default_factory=lambda: Watch({}), repr=False)
    """The files that the stage may read."""
    spare_path: Path | None = None
    hold: Hold = field(default=_hold, repr=False)
    """Keeps the scratch folder from the worker of another run, as long as the stage runs."""
    patience: float = 60.0
    """Seconds to wait for a process that a killed run left behind; it ends itself within 30."""
    report: Report = field(default=lambda name, data: None, repr=False)

    @property
    def scratch(self) -> Path:
        """A folder that survives a kill: checkpoints go here. Emptied when the node is done.

        Compute first, then ask for it, again whenever you write into it. Where its code
        was edited, or data may have been, so that what it made may be of others than the key says, it is a copy that
        nobody goes on from.

        Raises:
            StageError: files that a parameter names were edited while the stage ran.
        """
        edited, doubtful = self.watch.data()
        if edited:
            raise StageError(*changed_while_read(edited))
        if self.spare_path is None or not (self.watch.vouch() or doubtful):
            self._own_scratch()
            return self.scratch_path
        if not self.spare_path.exists():
            # What the stage put there for itself it finds again.
            with contextlib.suppress(FileNotFoundError):
                shutil.copytree(self.scratch_path, self.spare_path)
        self.spare_path.mkdir(parents=True, exist_ok=True)
        return self.spare_path

    def _own_scratch(self) -> None:
        """Make the scratch folder, for this process alone: that of a run that was killed may still
        write there, or remove it since it is of edited files.
        """
        path = os.fspath(self.scratch_path)
        while True:
            self.scratch_path.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if not self.patience or self.hold.take(path, 0.0):
                    return
                self.log("waiting for a process that a killed run left behind")
                if not self.hold.take(path, self.patience):
                    self.patience = 0.0
                return

    def input(self, port: str) -> Any:
        """The value of an input, loaded; None for an optional one that is not connected."""
        path = self.path(port)
        return None if path is None else self.input_types[port].load(path)

    def path(self, port: str) -> Path | None:
        """The read-only folder of an input; None for one that is not connected."""
        return self.input_paths.get(port)

    def output(self, port: str) -> Path:
        """The empty folder whose content becomes the output."""
        return self.output_paths[port]

    def save(self, port: str, value: Any) -> None:
        """Write ``value`` as the output ``port``, in the way of its artifact type."""
        self.output_types[port].save(self.output_paths[port], value)

    def user_object(self, reference: str) -> Any:
        """The user's function or class that a `UserCode` parameter names.

        Args:
            reference: ``FILE.py:NAME``, the file relative to the project, or ``MODULE:NAME``.

        Raises:
            StageError: there is no such file, module or name, or importing it failed.
        """
        found = import_user_object(reference, self.project)
        # From here on its file may be edited.
        self.watch.vouch()
        return found

    def secret(self, name: str) -> str:
        """The value of the environment variable that a `Secret` parameter names.

        Raises:
            StageError: it is not set.
        """
        value = os.environ.get(name, "")
        if not value:
            hint = "set it where edgepipe runs: its value is in no key, record, report or log"
            raise StageError(f"the environment variable {name} is not set", hint)
        return value

    def log(self, message: str) -> None:
        """A line for the node's log."""
        self.report("log", {"message": message})

    def warn(self, message: str) -> None:
        """A line for the node's log that the user also sees on the screen."""
        self.report("warning", {"message": message})

    def progress(self, done: float, total: float, **numbers: float) -> None:
        """How far the stage is, with numbers worth showing (``loss=0.1, accuracy=0.98``)."""
        self.report("progress", {"done": done, "total": total, "numbers": numbers})

    def rng(self) -> random.Random:
        """A generator of its own, seeded with `seed`."""
        return random.Random(self.seed)
