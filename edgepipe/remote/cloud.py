"""What the remotes behind a network share: fsspec's event loop, bounds and reasons."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from edgepipe.remote.settings import Settings
from edgepipe.remote.transport import LocalError, RejectedError, Sink, UnavailableError

T = TypeVar("T")
PIECE = 256 << 10
_START_SECONDS = 30.0
"""For importing a client and reading its tables, beside the time that the remote has."""


class Cloud:
    """Base of transports over an asynchronous fsspec file system."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.timeout = settings.timeout
        self._lock = threading.Lock()
        self._fs: Any = None
        self._broken: UnavailableError | None = None

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

    def _do(self, work: Coroutine[Any, Any, T], seconds: float = 0) -> T:
        """Run a coroutine in fsspec's loop, for at most ``seconds``, or as a small request."""
        try:
            self._ready()
        except BaseException:
            work.close()
            raise
        return self._wait(work, seconds or self.timeout)

    def _wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        from fsspec.asyn import get_loop

        future = asyncio.run_coroutine_threadsafe(_limited(work, seconds), get_loop())
        try:
            # The loop keeps the time; it gets more only for the case that it hangs itself.
            return future.result(seconds + _START_SECONDS)
        except (UnavailableError, RejectedError, LocalError):
            raise
        except (TimeoutError, concurrent.futures.TimeoutError, asyncio.CancelledError):
            future.cancel()
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
        while True:
            try:
                async with asyncio.timeout(self.timeout):
                    piece = await read(PIECE)
            except TimeoutError:
                raise UnavailableError(f"nothing came for {self.timeout:g} s") from None
            if not piece:
                return
            if len(piece) > left:
                raise RejectedError(f"it has more than {limit} bytes")
            left -= len(piece)
            sink(piece)


async def _limited(work: Coroutine[Any, Any, T], seconds: float) -> T:
    # wait_for() of Python 3.11 loses the cancellation that comes as a piece does: a remote that
    # sends byte by byte would then never be given up.
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
