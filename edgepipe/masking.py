"""Keeps the values of secrets out of what is kept: messages, errors and logs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
"""A name of an environment variable; most secrets that are pasted in its place are none."""

SIGN = "•••"
_SHORTEST = 4
"""What is shorter is no secret, and would tear other words apart."""


def values(names: Iterable[str]) -> list[str]:
    """The values of environment variables, the longest first: one may hold another."""
    found = {os.environ.get(name, "") for name in names}
    return sorted((v for v in found if len(v) >= _SHORTEST), key=len, reverse=True)


def masked(text: str, secrets: Sequence[str]) -> str:
    """A text with a sign in place of each secret."""
    for secret in secrets:
        text = text.replace(secret, SIGN)
    return text


def mask_file(path: Path, secrets: Sequence[str]) -> None:
    """The same for a file, where it holds one. Raises OSError."""
    if not secrets or not path.is_file():
        return
    before = path.read_bytes()
    after = before
    for secret in secrets:
        after = after.replace(secret.encode(), SIGN.encode())
    if after != before:
        path.write_bytes(after)
