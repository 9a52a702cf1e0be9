"""What the remotes behind a network share: fsspec's event loop, bounds and reasons."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from edgepipe.remote.progress import Line, Transfer, current
from edgepipe.remote.settings import Settings
from edgepipe.remote.transport import LeftError, LocalError, RejectedError, Sink, UnavailableError

T = TypeVar("T")
PIECE = 256 << 10
_START_SECONDS = 30.0
"""For importing a client and reading its tables, beside the time that the remote has."""
_LOOKS = 10
"""How often per ``timeout`` a transfer is looked at."""
_END_SECONDS = 1.0
"""How long what was cancelled may take to notice."""


class Cloud:
    """Base of transports over an asynchronous fsspec file system."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.timeout = settings.timeout
        self._lock = threading.Lock()
        self._fs: Any = None
        self._broken: UnavailableError | None = None
        self._line = Line(self.timeout)
        self._running: set[asyncio.Task[Any]] = set()
        self._leaving: set[asyncio.Task[Any]] = set()
        """Requests that clear up: `close` waits for them."""

    @property
    def got_on(self) -> float:
        """See Transport."""
        return self._line.got_on

    async def _open(self) -> Any:
        """Make the file system and its session, in the loop. Makes no request."""
        raise NotImplementedError

    def _ready(self) -> None:
        """Make the file system on first use; the time it takes is not the remote's."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._fs is None:
                try:
                    self._fs = self._wait(self._open(), self.timeout + _START_SECONDS)
                except UnavailableError as error:
                    # Those who wait for the lock are not to wait for the same once more each.
                    self._broken = error
                    raise

    async def _shut(self, fs: Any) -> None:
        """Close the file system's session."""
        raise NotImplementedError

    def close(self) -> None:
        """See Transport."""
        self._broken = LeftError()
        if self._fs is not None:
            self._wait(self._end(), 2 * self.timeout)

    async def _end(self) -> None:
        for task in self._running:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                while waiting := self._running | self._leaving:
                    await asyncio.wait(waiting)
        fs, self._fs = self._fs, None
        await self._shut(fs)

    def _do(self, work: Coroutine[Any, Any, T], *, small: bool = False) -> T:
        """Run a coroutine in fsspec's loop as a transfer; see `Transfer` for ``small``."""
        try:
            # It takes its time, in which ^C may come.
            from fsspec.asyn import get_loop

            self._ready()
        except BaseException:
            work.close()
            raise
        transfer = Transfer(self._line, small=small)
        watched = self._watched(work, transfer)
        future = asyncio.run_coroutine_threadsafe(watched, get_loop())
        # The loop looks after it; this is only for the case that it hangs itself.
        patience = self.timeout + _START_SECONDS
        while not concurrent.futures.wait([future], patience).done:
            if time.monotonic() - transfer.checked > patience:
                future.cancel()
        return self._result(future, self.timeout)

    async def _watched(self, work: Coroutine[Any, Any, T], transfer: Transfer) -> T:
        current.set(transfer)
        task = asyncio.ensure_future(work)
        _keep(task, self._running)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=self.timeout / _LOOKS)
                if not task.done():
                    transfer.check()
            return task.result()
        finally:
            if task.cancel():
                # It may hold a piece that the next attempt is not to get.
                await asyncio.wait([task], timeout=_END_SECONDS)

    def _clearing(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Begin to clear up: it goes on also when who waits for it is cancelled."""
        task = asyncio.ensure_future(_limited(work, self.timeout))
        _keep(task, self._leaving)
        return task

    def _wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        from fsspec.asyn import get_loop

        future = asyncio.run_coroutine_threadsafe(_limited(work, seconds), get_loop())
        concurrent.futures.wait([future], seconds + _START_SECONDS)
        if not future.done():
            future.cancel()
        return self._result(future, seconds)

    def _result(self, future: concurrent.futures.Future[T], seconds: float) -> T:
        try:
            return future.result()
        except (UnavailableError, RejectedError, LocalError):
            raise
        except (TimeoutError, concurrent.futures.CancelledError, asyncio.CancelledError):
            if isinstance(self._broken, LeftError):
                raise LeftError from None
            raise UnavailableError(f"no answer within {seconds:.3g} s") from None
        except Exception as error:
            # What libraries say may hold addresses with secrets: it is not passed on.
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> UnavailableError:
        return explained(error)

    async def _pass_on(
        self, read: Callable[[int], Awaitable[bytes]], sink: Sink, limit: int
    ) -> None:
        left = limit
        while piece := await read(PIECE):
            current.get().moved(len(piece))
            if len(piece) > left:
                raise RejectedError(f"it has more than {limit} bytes")
            left -= len(piece)
            sink(piece)


def _keep(task: asyncio.Task[Any], among: set[asyncio.Task[Any]]) -> None:
    def ended(_: object) -> None:
        among.discard(task)
        if not task.cancelled():
            # Asked for, so that nobody complains that nobody did.
            task.exception()

    among.add(task)
    task.add_done_callback(ended)


async def _limited(work: Coroutine[Any, Any, T], seconds: float) -> T:
    # wait_for() of Python 3.11 loses the cancellation that comes as a result does.
    async with asyncio.timeout(seconds):
        return await work


def explained(error: BaseException) -> UnavailableError:
    """Why a request failed, in words that hold nothing but the kind of failure."""
    chain: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in chain:
        chain.append(inner)
        inner = inner.__cause__ or inner.__context__ or getattr(inner, "os_error", None)
    names = {name.__name__ for item in chain for name in type(item).__mro__}
    if names & {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}:
        return UnavailableError("no credentials were found")
    if any(isinstance(item, ConnectionRefusedError) for item in chain):
        return UnavailableError("the connection was refused", again=True)
    if any(isinstance(item, socket.gaierror) for item in chain):
        return UnavailableError("its host is not known")
    if "ClientSSLError" in names or "SSLError" in names:
        return UnavailableError("no secure connection could be made")
    if names & {"ConnectTimeoutError", "ReadTimeoutError", "TimeoutError"}:
        return UnavailableError("no answer in time")
    if names & {
        "ClientConnectionError",
        "ClientPayloadError",
        "HTTPClientError",
        "ConnectionError",
    }:
        return UnavailableError("the connection broke off", again=True)
    return UnavailableError(f"it failed with {type(error).__name__}")


def status_reason(status: int) -> UnavailableError:
    """Why a request with this HTTP status failed."""
    if status in {401, 403}:
        return UnavailableError(f"access was denied ({status})")
    return UnavailableError(
        f"it answered {status}", again=status >= 500 or status in {408, 409, 429}
    )
