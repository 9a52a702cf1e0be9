"""Every error that a user can meet: where it is, what is wrong, what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


@dataclass(frozen=True, order=True)
class Where:
    """A place in a text: ``line`` and ``column`` count from 1, ``width`` is in characters."""

    file: str
    line: int
    column: int
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: one sentence, and what to do next."""

    message: str
    hint: str = ""
    where: Where | None = None

    def render(self) -> str:
        """The problem as a terminal shows it: place, sentence, the line with a caret, hint."""
        where = self.where
        lines = [f"{where}: error: {self.message}" if where else f"error: {self.message}"]
        if where and where.text:
            text, shift = _window(where.text, where.column)
            width = max(1, min(where.width, len(text) - shift))
            lines += [f"{where.line:>5} | {text}", f"      | {' ' * shift}{'^' * width}"]
        lines += [f"  {line}" for line in self.hint.splitlines()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        where = self.where
        place = {"file": where.file, "line": where.line, "column": where.column} if where else {}
        return {**place, "message": self.message, "hint": self.hint}


def _window(text: str, column: int, width: int = 100) -> tuple[str, int]:
    """Cut a long line around ``column``; returns the text and the caret's offset in it."""
    start = 0 if column <= width else column - width // 2
    # One sign for one: the caret stays, and the text cannot steer the terminal.
    shown = (sign if sign.isprintable() else " " for sign in text[start : start + width])
    return "".join(shown), column - 1 - start


MOST_SHOWN = 50
"""Problems that a terminal is shown."""
MOST_CHOICES = 50
"""Choices that a hint lists."""


class EdgepipeError(Exception):
    """Base of all errors that are shown without a traceback.

    ``exit_code`` is the process's exit status when the error ends a command.
    """

    exit_code = 1

    def __init__(self, message: str | Problem | Iterable[Problem], hint: str = "") -> None:
        if isinstance(message, str):
            message = Problem(message, hint)
        self.problems: Sequence[Problem] = (
            [message] if isinstance(message, Problem) else list(message)
        )
        super().__init__("\n".join(p.message for p in self.problems))

    def render(self) -> str:
        """The problems as a terminal shows them; of very many, the first."""
        shown = [p.render() for p in self.problems[:MOST_SHOWN]]
        if more := len(self.problems) - len(shown):
            shown.append(f"and {more:,} more problems, which --json lists")
        return "\n\n".join(shown)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self.problems),)


class ConfigError(EdgepipeError):
    """The pipeline, its includes or the command line are wrong; nothing was run or written."""

    exit_code = 2


class StageError(EdgepipeError):
    """A stage cannot do its work, for a reason that the user can act on."""


class StoreError(EdgepipeError):
    """The cache cannot be read or written."""


class GateError(EdgepipeError):
    """A budget on a result was not met."""

    exit_code = 3


def did_you_mean(name: str, choices: Iterable[str], label: str = "choices") -> str:
    """A hint that names the nearest choice, then all of them in order, unless they are many."""
    choices = sorted(choices)
    near = get_close_matches(name, choices, n=1)
    listed = f"{label}: {', '.join(choices[:MOST_CHOICES]) or 'none'}"
    if more := len(choices[MOST_CHOICES:]):
        listed += f" and {more:,} more"
    return f"did you mean '{near[0]}'? {listed}" if near else listed
