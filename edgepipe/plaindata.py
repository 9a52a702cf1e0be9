"""Plain data that may be kept and shown: names, and values that are nested."""

from __future__ import annotations

import math
import re

DEEPEST = 128
"""Levels of nesting; a pipeline has at most half of that."""
_LONGEST = 1000
# It would move what a terminal shows, or cannot be written as UTF-8.
_unshowable = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def is_name(value: object) -> bool:
    """Whether this is a text that can be shown in one line: no control character, not too long."""
    return isinstance(value, str) and len(value) <= _LONGEST and _unshowable.search(value) is None


def one_line(text: str) -> str:
    r"""A text with escapes (``\x1b``, ``\n``) in place of all that `is_name` refuses."""
    return _unshowable.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_plain(value: object, *, finite: bool = True, deepest: int = DEEPEST) -> bool:
    """Whether this is plain data of Unicode texts, nested no deeper than so many levels.

    Args:
        value: the data, as JSON gives it.
        finite: whether a number has to be finite.
        deepest: how many levels.
    """
    if isinstance(value, str):
        return _is_unicode(value)
    if isinstance(value, float):
        return not finite or math.isfinite(value)
    if value is None or isinstance(value, int):
        return True
    if not deepest:
        return False
    if isinstance(value, dict):
        return all(
            isinstance(name, str)
            and _is_unicode(name)
            and is_plain(item, finite=finite, deepest=deepest - 1)
            for name, item in value.items()
        )
    return isinstance(value, list | tuple) and all(
        is_plain(item, finite=finite, deepest=deepest - 1) for item in value
    )


def _is_unicode(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
