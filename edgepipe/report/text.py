"""Text for a terminal: no control characters, known widths, and ASCII where that is all there is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO

_ASCII = {
    "✓": "ok",
    "✗": "FAIL",
    "★": "*",
    "…": "...",
    "−": "-",
    "–": "-",
    "→": "->",
    "×": "x",
    "·": "-",
    "µ": "u",
    "│": "|",
    "─": "-",
}
_UNSAFE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def clean(text: str, *, lines: bool = False) -> str:
    r"""``text`` with everything that could steer a terminal made visible: ``\x1b``, ``\u202e``.

    Args:
        text: anything, such as an error that a stage raised.
        lines: keep line ends; otherwise they become spaces.
    """
    # Printable is all but Unicode's "other" and "separator", and with the plain space.
    if text.isprintable():
        return text
    return "".join(_clean_character(c, lines) for c in text)


def _clean_character(c: str, lines: bool) -> str:
    if c == "\n":
        return c if lines else " "
    if c == "\t":
        return " "
    if unicodedata.category(c) in _UNSAFE:
        return c.encode("unicode_escape", "surrogatepass").decode("ascii")
    return c


def to_ascii(text: str) -> str:
    """``text`` with the signs that the reports use spelled in ASCII, and all else escaped."""
    if text.isascii():
        return text
    spelled = "".join(_ASCII.get(c, c) for c in text)
    return spelled.encode("ascii", "backslashreplace").decode("ascii")


def can_show(stream: IO[str], text: str = "✓✗★…−×µ·─") -> bool:
    """Whether the stream's encoding has all of ``text``; one without an encoding holds anything."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def width(text: str) -> int:
    """Columns that a terminal needs for ``text``: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shorten(text: str, limit: int, mark: str = "…") -> str:
    """``text`` in at most ``limit`` columns, cut in its middle: names differ at both ends."""
    if width(text) <= limit:
        return text
    room = max(0, limit - width(mark))
    tail = _take(reversed(text), room // 2)
    head = _take(text, room - width(tail))
    return (head + mark + tail[::-1])[: max(limit, 0)]


def _take(characters: Iterable[str], room: int) -> str:
    taken = ""
    for c in characters:
        room -= width(c)
        if room < 0:
            break
        taken += c
    return taken


def pad(text: str, columns: int, right: bool) -> str:
    """``text`` filled with spaces to ``columns``, at its left if ``right`` aligned."""
    space = " " * max(0, columns - width(text))
    return space + text if right else text + space


def wrap(items: Sequence[str], first: int, room: int, separator: str = ", ") -> list[str]:
    """``items`` joined into lines of at most ``room`` columns, never broken inside an item.

    Args:
        items: what to join.
        first: columns that are taken already on the first line.
        room: columns of a line.
        separator: between two items; a comma stays at a line's end, a dot with spaces does not.
    """
    end = "" if separator.startswith(" ") else separator.rstrip()
    lines: list[str] = []
    line = ""
    used = first
    for item in items:
        piece = item if not line else separator + item
        if line and used + width(piece) + len(end) > room:
            lines.append(line + end)
            line, used = item, width(item)
        else:
            line += piece
            used += width(piece)
    return [*lines, line] if line else lines
