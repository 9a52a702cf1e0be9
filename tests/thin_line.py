"""A network on loopback that carries so many bytes per second and no more, in all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 2 << 10


class _Line:
    def __init__(self, pace: float) -> None:
        self.pace = pace
        self.free = time.monotonic()
        self.lock = threading.Lock()

    def wait(self, size: int) -> None:
        with self.lock:
            self.free = max(self.free, time.monotonic()) + size / self.pace
            until = self.free
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def thin_line(url: str, pace: float) -> Iterator[str]:
    """Another address of a server, over a line that all connections and both ways share.

    Args:
        url: the server's.
        pace: bytes per second.
    """
    line = _Line(pace)
    server = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:

        def connect(near: socket.socket) -> None:
            with near, socket.create_connection((server.hostname, server.port)) as far:
                back = threading.Thread(target=_carry, args=(far, near, line), daemon=True)
                back.start()
                _carry(near, far, line)
                back.join()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listening.accept()
                    threading.Thread(target=connect, args=(near,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _carry(source: socket.socket, target: socket.socket, line: _Line) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            line.wait(len(piece))
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
