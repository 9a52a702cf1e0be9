"""The store that a team shares: a folder, a bucket, or a web server for reading.

The same two tables as in a local store, ``objects/ab/cdef…`` and ``records/ab/cdef…``. A record is
uploaded after its objects, so that no reader sees one whose objects are not there; whatever comes
in is checked before it is used. Nothing here raises because a remote misbehaves: a run goes on
with what it has, and is told by `Remote.warnings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from edgepipe import signing
from edgepipe.errors import EdgepipeError
from edgepipe.project import Project
from edgepipe.remote.link import Flow, Link, Traffic
from edgepipe.remote.pull import Puller
from edgepipe.remote.push import Outcome, Pusher
from edgepipe.remote.settings import Settings, read
from edgepipe.remote.transport import UnavailableError
from edgepipe.store import Record, Store
from edgepipe.store.valid import is_digest

__all__ = ["Outcome", "Remote", "RemoteError", "Traffic"]


class RemoteError(EdgepipeError):
    """The remote cannot do what it was asked for, where that was all that was asked for."""


class Remote:
    """A project's remote. Nothing is imported or connected before the first request."""

    def __init__(self, settings: Settings, signer: signing.Signer | None = None) -> None:
        self.settings = settings
        self._link = Link(settings, signer)
        self._puller = Puller(self._link)
        self._pusher = Pusher(self._link)
        if settings.require_signed and signer is None:
            file = f", nor is there {settings.key_file}" if settings.key_file else ""
            missing = f"no key is set ($EDGEPIPE_SIGNING_KEY{file})"
            self._link.reads.open(f"its records have to be signed, and {missing}")

    @classmethod
    def open(cls, project: Project) -> Remote | None:
        """The remote of a project, or None.

        Raises:
            ConfigError: its settings or the signing key are wrong, or a package is missing.
        """
        settings = read(project)
        if settings is None:
            return None
        return cls(settings, signing.find(settings.key_file))

    @property
    def shown(self) -> str:
        """Where it is, without user, password and query."""
        return self.settings.shown

    @property
    def writable(self) -> bool:
        """Whether results may be uploaded."""
        return not self.settings.read_only

    @property
    def given_up(self) -> str:
        """Why it is not asked any more; empty while it is."""
        return self._link.reads.reason

    @property
    def traffic(self) -> Traffic:
        """What was moved so far."""
        return self._link.traffic

    @property
    def flow(self) -> Flow:
        """How far fetching is."""
        return self._link.flow

    @property
    def warnings(self) -> list[str]:
        """What went wrong so far: one sentence for each kind of trouble."""
        return self._link.warnings()

    def on_warning(self, listener: Callable[[str], None]) -> None:
        """Have each new kind of trouble told at once, also those that are known already.

        The listener may be called from any thread.
        """
        for text in self._link.complaints.all():
            listener(text)
        self._link.complaints.listener = listener

    def records(self, keys: Iterable[str]) -> dict[str, Record]:
        """Which of the keys the remote has a record for that can be trusted; fetches no object."""
        return self._puller.records(list(keys))

    def fetch(self, key: str, store: Store) -> Record | None:
        """Bring a key's result into the store; None if that is not possible."""
        return self.fetch_many([key], store).get(key)

    def fetch_many(
        self, keys: Iterable[str], store: Store, over: Callable[[str], None] = lambda key: None
    ) -> dict[str, Record]:
        """Bring results into the store, many at a time; gives back those that came.

        Args:
            keys: of the results.
            store: used by this thread alone until the end.
            over: told of each key as soon as its result is there, or is known not to come.
        """
        return self._puller.fetch(list(keys), store, over)

    def offer(self, record: Record, store: Store) -> None:
        """Upload a result in the background. Call `flush` before the process ends."""
        if self.writable:
            self._pusher.offer(record, store)

    def uploading(self, timeout: float) -> int:
        """Wait for what was offered, at most ``timeout`` seconds; how many are still on their way."""
        return self._pusher.wait(timeout)

    def flush(self, timeout: float) -> int:
        """Wait for what was offered, at most ``timeout`` seconds.

        Returns:
            how many results were not uploaded.
        """
        left = self._pusher.flush(timeout)
        if left:
            some = "1 result was" if left == 1 else f"{left} results were"
            text = (
                f"{some} not uploaded to {self.shown}: edgepipe cache push uploads what is missing"
            )
            self._link.complaints.say("flush", text)
        return left

    def distrust(self, key: str) -> None:
        """What it has under a key is of no use, though nothing is wrong with it by itself: the
        next upload replaces it.
        """
        self._link.bad_records.add(key)

    def hush(self) -> bool:
        """Let no upload begin until `resume`; whether none goes on, or one does for too long."""
        return self._pusher.hush()

    def resume(self) -> None:
        """Let uploads go on."""
        self._pusher.resume()

    def push(self, records: Sequence[Record], store: Store) -> Mapping[str, Outcome]:
        """Upload results and wait for it; what came of each key.

        Raises:
            RemoteError: the remote is for reading only.
        """
        if not self.writable:
            hint = "leave read_only out of [remote], or push to an s3:// or folder remote"
            raise RemoteError(f"the remote {self.shown} is for reading only", hint)
        return self._pusher.push(records, store)

    def keys(self) -> Iterator[str]:
        """The keys of all records on the remote.

        Raises:
            RemoteError: it cannot list them, or does not answer.
        """
        try:
            names = self._link.read(lambda transport: list(transport.names("records")))
        except UnavailableError as error:
            message = f"the remote {self.shown} cannot be listed: {error}"
            raise RemoteError(message, "name a pipeline to pull what it needs") from None
        yield from filter(is_digest, names)

    def close(self) -> None:
        """Let go of connections. Uploads that still wait are given up."""
        self._link.close()
