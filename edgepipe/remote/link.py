"""What fetching and pushing share: the connection, its limits, what was moved and what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from edgepipe.errors import ConfigError
from edgepipe.remote.asking import Breaker
from edgepipe.remote.settings import Settings
from edgepipe.remote.transport import (
    LeftError,
    RejectedError,
    Transport,
    UnavailableError,
    connect,
    path_of,
)
from edgepipe.remote.wire import (
    RECORD_LIMIT,
    NotARecordError,
    OtherFormatError,
    UntrustedError,
    decode_record,
)
from edgepipe.signing import Signer
from edgepipe.store import Record
from edgepipe.units import show

T = TypeVar("T")
_NOBODYS = "0" * 64
"""A key that no node has."""
Ask = Callable[[Callable[[Transport], "Record | None"]], "Record | None"]


@dataclass
class Traffic:
    """What was moved since the remote was opened."""

    records_down: int = 0
    objects_down: int = 0
    bytes_down: int = 0
    """Of objects."""
    records_up: int = 0
    objects_up: int = 0
    bytes_up: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **numbers: int) -> None:
        """Count, from any thread."""
        with self._lock:
            for name, number in numbers.items():
                setattr(self, name, getattr(self, name) + number)

    def as_json(self) -> dict[str, int]:
        """All numbers by name."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def text(self) -> str:
        """What a person reads: ``down 3 results, 12 objects, 4.2 MB; up nothing``."""

        def way(records: int, objects: int, size: int) -> str:
            if not records and not objects:
                return "nothing"
            parts = (_counted(records, "result"), _counted(objects, "object"), show(size, "bytes"))
            return ", ".join(parts)

        down = way(self.records_down, self.objects_down, self.bytes_down)
        return f"down {down}; up {way(self.records_up, self.objects_up, self.bytes_up)}"


@dataclass
class Flow:
    """Bytes of files that were asked for, and that came so far, used or not."""

    expected: int = 0
    received: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, expected: int = 0, received: int = 0) -> None:
        """Count, from any thread."""
        with self._lock:
            self.expected += expected
            self.received += received


class Complaints:
    """What went wrong, one sentence for each kind of trouble however often it came."""

    def __init__(self) -> None:
        self.listener: Callable[[str], None] = lambda text: None
        self._first: dict[str, str] = {}
        self._count: dict[str, int] = {}
        self._lock = threading.Lock()

    def say(self, kind: str, text: str) -> None:
        """Note a trouble; the first of its kind is told at once."""
        with self._lock:
            self._count[kind] = self._count.get(kind, 0) + 1
            first = kind not in self._first
            self._first.setdefault(kind, text)
        if first:
            self.listener(text)

    def all(self) -> list[str]:
        """The sentences, with how many more there were."""
        with self._lock:
            more = {kind: count - 1 for kind, count in self._count.items()}
            return [
                text + (f" (and {more[kind]} more like it)" if more[kind] else "")
                for kind, text in self._first.items()
            ]


class Link:
    """A connection to a remote, made when it is first needed."""

    def __init__(self, settings: Settings, signer: Signer | None) -> None:
        self.settings = settings
        self.signer = signer
        self.traffic = Traffic()
        self.flow = Flow()
        self.complaints = Complaints()
        self.bad_objects: set[str] = set()
        """Seen to be not what they should be: the next upload replaces them."""
        self.bad_records: set[str] = set()
        # Reading may be allowed where writing is not: one does not stop the other.
        self.reads = Breaker(settings.timeout, self._got_on)
        self.reads.on_open = self._given_up
        self.writes = Breaker(settings.timeout, self._got_on)
        self.writes.on_open = self._given_up_writing
        self._is_remote = False
        """Whether it has proved to be one, and not a page that is given for everything."""
        self._probing = threading.Lock()
        self._transport: Transport | None = None
        self._left = False
        self._lock = threading.Lock()

    def read(self, request: Callable[[Transport], T]) -> T:
        """Make a request that reads. Raises UnavailableError."""
        return self.reads.ask(lambda: request(self._connected()))

    def write(self, request: Callable[[Transport], T]) -> T:
        """Make a request that belongs to an upload. Raises UnavailableError."""
        if self.reads.reason:
            raise UnavailableError(self.reads.reason)
        return self.writes.ask(lambda: request(self._connected()))

    def record(self, key: str, ask: Ask) -> Record | None:
        """The remote's record of a key; None if there is none that may be used.

        Args:
            key: the key.
            ask: `read` or `write`.

        Raises:
            UnavailableError: the remote did not answer.
            OtherFormatError: there is one that another version wrote.
        """

        def request(transport: Transport) -> Record | None:
            data = bytearray()
            name = path_of("records", key)
            if not transport.get(name, data.extend, RECORD_LIMIT, small=True):
                return None
            return decode_record(bytes(data), key, self.signer)

        try:
            record = ask(request)
            self._is_remote = self._is_remote or record is not None
            return record
        except RejectedError as error:
            self.bad_records.add(key)
            kind = "untrusted" if isinstance(error, UntrustedError) else "record"
            text = f"a record on the remote was refused: {error} (key {key[:12]}, {self.shown})"
            self.complaints.say(f"{kind}: {error}", text)
            if isinstance(error, NotARecordError) and not self._distinguishes():
                self.reads.open("what it gives is no record")
            return None
        except OtherFormatError:
            text = f"the remote {self.shown} has results of another version of edgepipe"
            self.complaints.say("format", text)
            raise

    def _distinguishes(self) -> bool:
        """Whether the remote gives nothing for what nobody has put there.

        Then it is one, and a record that is none was damaged; a login page, say, is given for
        everything.
        """
        with self._probing:
            if not self._is_remote and not self.reads.reason:
                name = path_of("records", _NOBODYS)
                try:
                    self._is_remote = not self.read(
                        lambda transport: transport.get(name, len, RECORD_LIMIT, small=True)
                    )
                except RejectedError:
                    return False
                except UnavailableError:
                    # It was counted, and is no answer.
                    return True
            return self._is_remote

    @property
    def shown(self) -> str:
        """The address, without secrets."""
        return self.settings.shown

    def warnings(self) -> list[str]:
        """All that went wrong."""
        said = self.complaints.all()
        for what, breaker in (("request", self.reads), ("upload request", self.writes)):
            if breaker.failures and not breaker.reason:
                failed = _counted(breaker.failures, what)
                said.append(f"{failed} to the remote {self.shown} failed: {breaker.last}")
        return said

    def close(self) -> None:
        """Let go of connections; the numbers and warnings stay."""
        with self._lock:
            transport, self._transport, self._left = self._transport, None, True
        if transport is not None:
            try:
                transport.close()
            except UnavailableError as error:
                self.complaints.say("close", f"the remote {self.shown} was left: {error}")

    def _connected(self) -> Transport:
        with self._lock:
            if self._left:
                raise LeftError
            if self._transport is None:
                try:
                    self._transport = connect(self.settings)
                except ImportError as error:
                    message = f"the remote {self.shown} needs {error.name}"
                    raise ConfigError(message, "pip install 'edgepipe[remote]'") from None
            return self._transport

    def _got_on(self) -> float:
        transport = self._transport
        return 0.0 if transport is None else transport.got_on

    def _given_up(self, reason: str) -> None:
        text = f"the remote {self.shown} is not asked any more: {reason}; going on without it"
        self.complaints.say("given up", text)

    def _given_up_writing(self, reason: str) -> None:
        text = f"results are not uploaded to {self.shown} any more: {reason}"
        self.complaints.say("given up writing", text)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
