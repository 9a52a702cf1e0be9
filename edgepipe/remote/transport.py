"""What a remote's backend can do, in five methods; it knows names and bytes, and no records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edgepipe.remote.settings import Settings

Sink = Callable[[bytes], object]


class UnavailableError(Exception):
    """The remote did not do it: a connection, a server, a permission. ``again``: may help."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class UselessError(UnavailableError):
    """What is there is no remote: to ask again is in vain."""


class LeftError(UnavailableError):
    """This side let go of the remote."""

    def __init__(self) -> None:
        super().__init__("it was left")


class RejectedError(Exception):
    """What came is not what was asked for."""


class LocalError(Exception):
    """This machine could not read or keep what was transferred; the remote is not to blame."""


@dataclass(frozen=True)
class Upload:
    """What is to be written under a name."""

    size: int
    chunks: Callable[[int], Iterator[bytes]]
    """Pieces of at most so many bytes. Raises LocalError after the last if they are not right,
    and then nothing may be published."""


class Transport(Protocol):
    """A place with names.

    All methods may be called by several threads at once, give up what stands still, and raise
    UnavailableError.
    """

    @property
    def got_on(self) -> float:
        """When a transfer last got on, by time.monotonic()."""

    def get(self, name: str, sink: Sink, limit: int, *, small: bool = False) -> bool:
        """Pass on the bytes under a name; False if there are none.

        Args:
            name: where they are.
            sink: gets them, piece by piece.
            limit: how many there may be.
            small: give up as soon as the timeout is over, also if it gets on.

        Raises:
            RejectedError: there are more than ``limit``; at most as many were passed on.
        """

    def size(self, name: str) -> int | None:
        """How many bytes are under a name; None if there are none, -1 if it does not say."""

    def put(self, name: str, upload: Upload, *, replace: bool) -> bool:
        """Write all or nothing; False if the name was taken and is not to be replaced."""

    def names(self, table: str) -> Iterator[str]:
        """What is in a table, without the table's own name and slashes."""

    def close(self) -> None:
        """End what goes on, and let go of connections. What is asked later gets a LeftError."""


def path_of(table: str, digest: str) -> str:
    """The name of a digest in a table: as in a local store."""
    return f"{table}/{digest[:2]}/{digest[2:]}"


def connect(settings: Settings) -> Transport:
    """The transport for a remote. Raises UnavailableError."""
    if settings.kind == "folder":
        from edgepipe.remote.folder import Folder

        return Folder(settings)
    if settings.kind == "s3":
        from edgepipe.remote.s3 import Bucket

        return Bucket(settings)
    from edgepipe.remote.http import Website

    return Website(settings)
