"""Where in a TOML file something stands: its parser tells values from their places no more."""

from __future__ import annotations

import re
from pathlib import Path

from edgepipe.errors import ConfigError, Problem, Where

_AT = re.compile(r" \(at line (\d+), column (\d+)\)$")


def setting(path: Path, text: str, name: str, table: str = "") -> Where:
    """Where a setting stands, or else its table, or else the file's first line.

    Args:
        path: the file.
        text: what it holds.
        name: of the setting; empty for none.
        table: the name of the table that the setting is in.
    """
    begin = _search(rf"^[ \t]*\[[ \t]*({re.escape(table)})[ \t]*\]", text) if table else None
    start = begin.end() if begin else 0
    found = _search(rf"^[ \t]*({re.escape(name)})\b", text, start) if name else None
    found = found or begin
    if found is None:
        return Where(str(path), 1, 1)
    return _where(path, text, found.start(1), len(found[1]))


def syntax_error(path: Path, text: str, error: ValueError) -> ConfigError:
    """What is said of a file that is not TOML, at the place that its parser names."""
    message = str(error)
    where = Where(str(path), 1, 1)
    if at := _AT.search(message):
        message = message[: at.start()]
        line, column = int(at[1]), int(at[2])
        where = Where(str(path), line, column, text.split("\n")[line - 1])
    hint = "see https://toml.io for the format"
    return ConfigError(Problem(f"this is not TOML: {message}", hint, where))


def _search(pattern: str, text: str, start: int = 0) -> re.Match[str] | None:
    return re.compile(pattern, re.MULTILINE).search(text, start)


def _where(path: Path, text: str, start: int, width: int) -> Where:
    line = text.count("\n", 0, start) + 1
    first = text.rfind("\n", 0, start) + 1
    return Where(str(path), line, start - first + 1, text[first:].split("\n", 1)[0], width)
