"""HTML and SVG that cannot be injected into: every string is escaped unless it is `Html`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypeAlias

from edgepipe.report.text import clean


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Sequence[Child] | None"
_VOID = frozenset(("br", "input", "meta", "wbr"))


def el(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element. ``class_`` becomes ``class``, ``data_tip`` becomes ``data-tip``.

    Attributes that are None or False are left out. Children that are None are left out, lists
    are taken apart, strings are escaped.
    """
    parts = ["<", name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        parts.append(f" {key.rstrip('_').replace('_', '-')}")
        if value is not True:
            parts.append(f'="{_attribute(value)}"')
    parts.append(">")
    if name not in _VOID:
        parts += [join(*children), "</", name, ">"]
    return Html("".join(parts))


def join(*children: Child) -> Html:
    """Children one after the other, without an element around them."""
    return Html("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if isinstance(child, Html):
        return child
    if child is None:
        return ""
    if isinstance(child, list | tuple):
        return "".join(_child(c) for c in child)
    if isinstance(child, float):
        return trim(child)
    return escape(clean(str(child), lines=True), quote=False)


def _attribute(value: str | float) -> str:
    if isinstance(value, float):
        return trim(value)
    return escape(clean(str(value), lines=True))


def trim(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")
