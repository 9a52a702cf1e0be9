"""A tree of values that know their place in a text, and how large a tree may become."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from edgepipe.errors import ConfigError, Problem, Where

MAX_DEPTH = 64
MAX_SIZE = 1_000_000
"""Of a whole tree in values, with what aliases and variables stand for counted each time."""
_TEXT_SIZE = 64
"""Characters of a text that count as one value more."""


@dataclass(frozen=True)
class Source:
    """A text with the name that errors call it by."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def lines(self) -> list[str]:
        """The text's lines, without their ends."""
        return self.text.splitlines()


@dataclass(slots=True)
class Node:
    """A value and its place. ``value`` is a scalar, a list of nodes or a dict of nodes."""

    value: Any
    source: Source
    line: int
    """From 0, as ``column``."""
    column: int
    width: int = 1
    keys: dict[str, Node] | None = None
    """Of a mapping: where each key stands."""
    size: int = 1
    """Number of values in this tree."""
    height: int = 1
    """Levels of this tree."""

    @property
    def where(self) -> Where:
        """The place, with its line of text."""
        lines = self.source.lines
        text = lines[self.line] if self.line < len(lines) else ""
        return Where(self.source.name, self.line + 1, self.column + 1, text, self.width)

    def inside(self, offset: int, width: int) -> Node:
        """The place of a part of this text; the text's own where it does not stand there so.

        Args:
            offset: where the part begins in the value, from 0.
            width: of the part, in characters.
        """
        lines = self.source.lines[self.line :]
        raw = "\n".join([lines[0][self.column :], *lines[1:]])
        block = raw[:1] in {"|", ">"}
        end = raw.find("\n") + 1 if block else 0
        start = end
        for wanted in self.value[: offset + 1]:
            if wanted.isspace():
                continue
            start = raw.find(wanted, end)
            # Only what folding and quoting put between two characters is passed over.
            if start < 0 or raw[end:start].strip(" \n'\"\\"):
                return self
            end = start + 1
        if offset >= len(self.value):
            start = end
        before = raw[:start]
        line = before.count("\n")
        column = start - (before.rfind("\n") + 1) + (self.column if line == 0 else 0)
        return replace(self, line=self.line + line, column=column, width=width)

    def rebuilt(self, value: Any) -> Node:
        """The same place with another value. Raises ConfigError where it grows out of bounds."""
        children = _children(value)
        own = size_of(value) if isinstance(value, str) else 1
        size = own + sum(child.size for child in children)
        height = 1 + max((child.height for child in children), default=0)
        node = replace(self, value=value, size=size, height=height)
        node.check_bounds()
        return node

    def check_bounds(self) -> None:
        """Raise ConfigError where the tree is larger or deeper than the limits."""
        if self.size > MAX_SIZE:
            message = f"aliases and variables make this larger than {MAX_SIZE:,} values"
            raise ConfigError(Problem(message, "write out what is needed of it", self.where))
        if self.height > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            raise ConfigError(Problem(message, "flatten it", self.where))

    def key(self, name: str) -> Node:
        """The node of a mapping's key; the mapping itself where there is no such key."""
        return (self.keys or {}).get(name, self)

    def plain(self) -> Any:
        """The value as plain Python data."""
        if isinstance(self.value, dict):
            return {name: item.plain() for name, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def at(self, path: tuple[str | int, ...]) -> Node:
        """The node at a path, or the last one on the way that exists."""
        node = self
        for part in path:
            value = node.value
            if isinstance(value, dict) and isinstance(part, str) and part in value:
                node = value[part]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                node = value[part]
            else:
                break
        return node


def _children(value: Any) -> Collection[Node]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def kind_of(value: Any) -> str:
    """What a person calls a value's type."""
    if value is None:
        return "nothing"
    names = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    names |= {list: "a list", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)


def size_of(text: str) -> int:
    """How many values a text counts as."""
    return 1 + len(text) // _TEXT_SIZE
