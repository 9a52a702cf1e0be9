"""What an executor is: it runs jobs, and knows nothing of graphs or caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """A node handed to an executor: plain data, so that any process anywhere can run it."""

    node: str
    module: str
    """Dotted name of the module that holds the stage, below ``root``."""
    path: str
    root: str
    plugin: bool
    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    """Input port → folder to read."""
    outputs: Mapping[str, str]
    """Output port → empty folder to fill."""
    seed: int
    threads: int
    scratch: str
    project: str
    log: str
    """File that everything the node prints is appended to."""
    timeout: float | None = None
    """Seconds after which it is ended."""
    interpreter: str = ""
    """Executable of another environment that runs it; empty: the one that runs edgepipe."""
    secrets: list[str] = field(default_factory=list)
    """Environment variables whose values are kept out of messages and of the log."""
    plugins: list[str] = field(default_factory=list)
    """The project's folders of plug-ins."""
    watched: Mapping[str, Any] = field(default_factory=dict)
    """The files that it may read; see `edgepipe.watch.Watch`."""
    spare: str = ""
    """A scratch folder that nobody goes on from; empty: the other one in any case."""
    gpus: str = ""
    """The GPUs that it may use, as ``0,1``: numbers among those that this process sees."""


@dataclass(frozen=True)
class Message:
    """What a running job tells.

    ``log``, ``warning``: {message}. ``progress``: {done, total, numbers}. ``vouched``: {paths}, the
    files of code that may be edited from now on (see `edgepipe.watch.Watch.vouch`).
    ``done``: {seconds, cpu_seconds, peak_memory, unsure}, the last of a job that succeeded.
    ``error``: {message, hint, unsure}, the last of one that did not.

    ``unsure`` are the watched files and folders that were written and that the job may have read
    since (see `edgepipe.watch.Watch.vouch`); a job that crashed does not tell.
    """

    node: str
    name: str
    data: Mapping[str, Any]

    @property
    def last(self) -> bool:
        """No message of this job follows."""
        return self.name in {"done", "error"}


class Executor(Protocol):
    """Runs jobs. Used from one thread."""

    def start(self, job: Job) -> None:
        """Begin a job; returns at once."""

    def renew(self) -> None:
        """Let no job begin in a process that runs now: it may have loaded files that were written
        since.
        """

    def poll(self, timeout: float) -> Sequence[Message]:
        """Messages that came since, in order; waits up to ``timeout`` seconds for the first."""

    def close(self, *, force: bool = False) -> None:
        """End all jobs and their children: in order, or with ``force`` at once."""
