"""How the S3 client sends and reads: what was sent is counted, and no answer fills the memory."""

from __future__ import annotations

import asyncio
import copy
import fcntl
import io
import struct
import termios
from typing import Any

from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.httpsession import AIOHTTPSession
from aiohttp.payload import Payload

from edgepipe.remote.progress import current
from edgepipe.remote.transport import UnavailableError

_ANSWER_LIMIT = 4 << 20
"""Bytes of an answer that is no object: a page of a listing, or an error."""
_PIECE = 64 << 10


class Session(AIOHTTPSession):  # type: ignore[misc]
    """The client's HTTP sessions."""

    async def send(self, request: Any) -> Any:
        """Make a request; see the base class."""
        streamed = request.stream_output
        request = copy.copy(request)
        # The base class would read all of it, however much that is.
        request.stream_output = True
        if isinstance(request.body, io.BytesIO):
            request.body = request.body.getvalue()
        if not isinstance(request.body, bytes):
            answer = _Answer(await super().send(request))
        else:
            request.body = body = _Body(request.body)
            with current.get().sending(body.sent):
                answer = _Answer(await super().send(request))
        if not streamed:
            await answer.content
        return answer


class _Answer(AioAWSResponse):  # type: ignore[misc]
    """An answer whose content is bounded, unless it is read as a stream."""

    def __init__(self, answer: Any) -> None:
        super().__init__(answer.url, answer.status_code, answer.headers, answer.raw)
        self._whole: bytes | None = None

    @property
    def content(self) -> Any:
        return self._bounded()

    async def _bounded(self) -> bytes:
        if self._whole is None:
            body = bytearray()
            while piece := await self.raw.content.read(_PIECE):
                body += piece
                current.get().moved(len(piece))
                if len(body) > _ANSWER_LIMIT:
                    self.raw.close()
                    raise UnavailableError("its answer does not end")
            self._whole = bytes(body)
        return self._whole


class _Body(Payload):
    """A request's body that knows how much of it has arrived."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._size = len(data)
        self._given = 0
        self._transport: asyncio.Transport | None = None

    def sent(self) -> int:
        """Bytes that the other side has, as far as the system can tell."""
        if self._transport is None:
            return 0
        return self._given - self._transport.get_write_buffer_size() - _queued(self._transport)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """See the base class."""
        return str(self._value, encoding, errors)

    async def write(self, writer: Any) -> None:
        """See the base class."""
        self._transport = writer.transport
        for start in range(0, len(self._value), _PIECE):
            piece = self._value[start : start + _PIECE]
            self._given += len(piece)
            await writer.write(piece)


def _queued(transport: asyncio.Transport) -> int:
    """Bytes that the system holds and the other side has not confirmed."""
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return 0
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    except OSError:
        # Not every system can say it of a socket; then what it took counts as sent.
        return 0
    return int(count)
