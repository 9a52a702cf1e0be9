"""Canonical bytes and tagged digests: equal values give equal digests, others never do.

Every digest carries a tag that says what was hashed, so that a file's digest can never be
taken for a key's. The hash is BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs), 256 bits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

LARGE = 16 << 20
"""Bytes from which a file is hashed by all processors, through a memory map."""


def canonical(value: Any) -> bytes:
    """Canonical JSON of plain data: sorted keys, no white space, no NaN.

    Raises:
        TypeError: the value holds something else than None, bool, int, float, str, list,
            tuple or a mapping with str keys.
        ValueError: a float is not finite.
    """
    _check(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _check(value: Any) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"not finite: {value!r}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"mapping key is {type(key).__name__}, not str")
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
    elif not (value is None or isinstance(value, bool | int | str)):
        raise TypeError(f"{type(value).__name__} has no canonical form")


def digest_bytes(tag: str, data: bytes) -> str:
    """Hex digest of ``data`` under ``tag``; the tag's length keeps the two apart."""
    return str(hasher(tag).update(data).hexdigest())


def hasher(tag: str) -> blake3:
    """For bytes that come in pieces: its hex digest is what `digest_bytes` gives for all of them."""
    head = tag.encode()
    return blake3(bytes([len(head)]) + head)


def digest_value(tag: str, value: Any) -> str:
    """Hex digest of plain data under ``tag``; see `canonical`."""
    return digest_bytes(tag, canonical(value))


def digest_file(path: Path) -> str:
    """Hex digest of a file's content, read once.

    Raises:
        OSError: the file cannot be read.
    """
    hasher = blake3(b"\x04file", max_threads=blake3.AUTO)
    with path.open("rb") as file:
        if path.stat().st_size >= LARGE:
            hasher.update_mmap(path)
        else:
            hasher.update(file.read())
    return str(hasher.hexdigest())
