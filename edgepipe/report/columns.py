"""Columns of text, fitted to the width that there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgepipe.report.text import pad, shorten, width

Text = Callable[[str], str]
"""Makes a string fit for the terminal: no control characters, ASCII where needed."""


@dataclass(frozen=True)
class Column:
    """A column of a text table. Those with the highest ``drop`` go first where space is short."""

    head: str
    right: bool = True
    drop: int = 0
    gap: int = 2
    """Spaces before it."""


def layout(
    head: Sequence[Column], rows: Sequence[Sequence[str]], columns: int, text: Text
) -> list[str]:
    """A table as lines: the head, then the rows. Columns without a value are left out.

    Where the lines would be longer than ``columns``, columns go by their ``drop``, then the
    widest of the left-aligned ones is shortened.
    """
    if not rows:
        return []
    cells = [[text(cell) for cell in row] for row in rows]
    titles = [text(column.head) for column in head]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    kept = [i for i, wide in enumerate(widths) if wide]
    widths = [max(wide, width(title)) for wide, title in zip(widths, titles, strict=True)]

    def excess() -> int:
        return sum(widths[i] + head[i].gap for i in kept) - head[kept[0]].gap - columns

    for i in sorted(kept, key=lambda i: -head[i].drop):
        if excess() > 0 and head[i].drop:
            kept.remove(i)
    while excess() > 0:
        widest = max(kept, key=lambda i: (not head[i].right) * widths[i])
        if head[widest].right or widths[widest] <= 8:
            break
        widths[widest] = max(8, widths[widest] - excess())

    def line(row: Sequence[str]) -> str:
        parts = [
            " " * head[i].gap * (i != kept[0])
            + pad(shorten(row[i], widths[i], text("…")), widths[i], head[i].right)
            for i in kept
        ]
        return "".join(parts).rstrip()

    return [line(titles), *map(line, cells)]
