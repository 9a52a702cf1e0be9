"""HTML and SVG that cannot be injected into: every string is escaped unless it is `Html`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
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
    given = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        given += f" {_attribute_name(key)}"
        if value is not True:
            given += f'="{_attribute(value)}"'
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{''.join(map(_child, children))}</{name}>")


def join(*children: Child) -> Html:
    """Children one after the other, without an element around them."""
    return Html("".join(map(_child, children)))


def _child(child: Child) -> str:
    if isinstance(child, Html):
        return child
    if child is None:
        return ""
    if isinstance(child, list | tuple):
        return "".join(map(_child, child))
    if isinstance(child, float):
        return trim(child)
    text = str(child)
    return text if text.isalnum() else escape(clean(text, lines=True), quote=False)


@cache
def _attribute_name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _attribute(value: str | float) -> str:
    if isinstance(value, float):
        return trim(value)
    text = str(value)
    return text if text.isalnum() else escape(clean(text, lines=True))


def trim(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")
