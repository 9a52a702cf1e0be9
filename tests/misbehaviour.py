"""What a server does that does not behave; for `remotes.misbehaving`."""

from __future__ import annotations

import time

from remotes import Asked


def hang(asked: Asked) -> None:
    asked.hang()


def hang_after_the_head(asked: Asked) -> None:
    asked.head(200, 100)
    asked.hang()


def hang_in_the_body(asked: Asked) -> None:
    asked.head(200, 100)
    asked.body(b'{"edgepipe"')
    asked.hang()


def trickle(asked: Asked) -> None:
    asked.head(200, 1000)
    for _ in range(1000):
        asked.body(b" ")
        time.sleep(0.2)


def drip(asked: Asked) -> None:
    """So often that bytes come in the very moment in which patience ends, too."""
    asked.head(200, 100_000)
    for _ in range(100_000):
        asked.body(b" ")
        time.sleep(0.0005)


def fail(asked: Asked) -> None:
    asked.head(500, 0)


def busy(asked: Asked) -> None:
    asked.head(503, 0)


def half(asked: Asked) -> None:
    asked.head(200, 100)
    asked.body(b'{"edgepipe"')
    asked.drop()


def drop(asked: Asked) -> None:
    asked.drop()


def deny(asked: Asked) -> None:
    asked.head(403, 0)


def log_in(asked: Asked) -> None:
    asked.head(200, 25)
    asked.body(b"<html>Please log in</html"[:25])
