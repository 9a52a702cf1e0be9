"""Which files below a folder some texts name."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgepipe.fingerprint.lookups import SHORT, letters
from edgepipe.fingerprint.names import FILLED


class Names:
    """Texts, as names of files and folders."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.plain: set[tuple[str, ...]] = set()
        """As parts of a path."""
        self._patterns: set[str] = set()
        folders: set[str] = set()
        for text in texts:
            # Where a text begins, and what is filled into it, is not known.
            parts = [p for p in FILLED.sub("*", text).split("/") if p not in {"", ".", ".."}]
            while parts and not parts[-1].strip("*?."):
                # All of a folder.
                parts.pop()
            if not parts:
                continue
            name = parts[-1]
            if _is_pattern(name):
                found = {name, name.replace("[", "[[]")}
                self._patterns |= found
                if "/" in text or letters(name) >= SHORT:
                    folders |= found
            if not _is_pattern(name.replace("[", "")):
                known = [n for n, part in enumerate(parts) if "*" in part]
                self.plain.add(tuple(parts[known[-1] + 1 if known else 0 :]))
        self.endings = {
            text[0] for text in self.plain if len(text) == 1 and "." in text[0] and len(text[0]) > 2
        }
        """How names of files may end."""
        self._lasts = {text[-1] for text in self.plain}
        self.files = _matcher(self._patterns)
        """Matches names of files."""
        self.folders = _matcher(folders)
        """Matches names of folders, all of which counts then, and of files."""

    def mean(self, name: str) -> bool:
        """Whether a text means a file of that name itself, and not its folder."""
        if name in self._lasts or self.files.fullmatch(name):
            return True
        return any(name.endswith(ending) for ending in self.endings)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, sorted(patterns))) or r"(?!)")


class Listing:
    """The files below a folder, by the parts of their paths."""

    def __init__(self, files: list[Path], folder: Path) -> None:
        self.files = files
        start = len(folder.parts)
        self._parts = {path: path.parts[start:] for path in files}
        self._having: dict[str, list[Path]] = {}
        self._ending: dict[str, list[Path]] = {}
        for path, parts in self._parts.items():
            for part in dict.fromkeys(parts):
                self._having.setdefault(part, []).append(path)
            _, dot, suffix = parts[-1].rpartition(".")
            if dot:
                self._ending.setdefault(suffix, []).append(path)

    def named(self, names: Names) -> Iterator[Path]:
        """The files that a text names, or a folder that they are in, or how their names end."""
        for text in sorted(names.plain):
            yield from (p for p in self._having.get(text[-1], ()) if _holds(self._parts[p], text))
        for ending in sorted(names.endings):
            _, _, suffix = ending.rpartition(".")
            yield from (p for p in self._ending.get(suffix, ()) if p.name.endswith(ending))
        for part, paths in self._having.items():
            if names.folders.fullmatch(part):
                yield from paths
            elif names.files.fullmatch(part):
                yield from (path for path in paths if path.name == part)


def _holds(parts: Sequence[str], some: Sequence[str]) -> bool:
    """Whether some parts of a path stand in it one after the other."""
    return any(tuple(parts[i : i + len(some)]) == some for i in range(len(parts)))
