"""A verb's arguments: what is wrong with them is said as every other error is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from edgepipe.errors import ConfigError, did_you_mean


class Parser(argparse.ArgumentParser):
    """A parser, also of a verb's actions, that raises ConfigError instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message, f"{self.prog} --help says what it takes")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        options, unknown = super().parse_known_args(args, namespace)
        wrong = [text.partition("=")[0] for text in unknown if text.startswith("-")]
        if wrong:
            known = (name for name in self._option_string_actions if name.startswith("--"))
            hint = did_you_mean(wrong[0], known, "options")
            raise ConfigError(f"{self.prog} has no option '{wrong[0]}'", hint)
        if unknown:
            self.error(f"'{unknown[0]}' is one argument too many")
        return options, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if not action.option_strings:
            hint = did_you_mean(value, action.choices, f"{action.dest}s")
            raise ConfigError(f"{self.prog} has no {action.dest} '{value}'", hint)
        hint = did_you_mean(value, action.choices, "choices")
        raise ConfigError(f"{action.option_strings[-1]} cannot be '{value}'", hint)


def whole(text: str) -> int:
    """A whole number. Raises ArgumentTypeError for what is none."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None


def cache_folder(text: str) -> Path:
    """What ``--cache`` names. Raises ConfigError for a text that names nothing."""
    if not text.strip():
        hint = "name a folder, or leave --cache out: it is then $EDGEPIPE_CACHE"
        raise ConfigError("--cache names no folder", hint)
    return Path(text)


def add_cache(parser: argparse.ArgumentParser) -> None:
    """``--cache``: another cache for this command."""
    parser.add_argument(
        "--cache", type=cache_folder, metavar="DIR", help="instead of $EDGEPIPE_CACHE"
    )
