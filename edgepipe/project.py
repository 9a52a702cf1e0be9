"""The user's folder: where a project begins, and its settings in ``edgepipe.toml``."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepipe import tomlplaces
from edgepipe.errors import ConfigError, Problem, Where, did_you_mean
from edgepipe.units import parse_size

FILE = "edgepipe.toml"
_MARKS = (FILE, "pyproject.toml", ".git")
_SETTINGS = {
    "plugins": "a list of texts, like ['plugins']",
    "cache": "a text, like '.cache'",
    "cache_size": "a text, like '20 GB'",
    "remote": "a table, [remote] with url = 's3://bucket/prefix'",
}


@dataclass(frozen=True)
class Project:
    """A project: everything relative in it is relative to ``root``."""

    root: Path
    plugins: tuple[Path, ...]
    """Folders of the project's own stages, there or not."""
    cache: Path
    """The content-addressed store; several projects may share one."""
    remote: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)
    """The table ``remote`` as it stands; `edgepipe.remote` checks it. Its URL may hold a password."""

    cache_size: int | None = None
    """Bytes that the store's objects may take after a run; None for no limit."""
    envs: Path = Path()
    """Built environments; projects share them, and another cache for a run leaves them."""

    @property
    def runs(self) -> Path:
        """Folder of the project's runs: records, logs and reports."""
        return self.root / ".edgepipe" / "runs"

    @property
    def state(self) -> Path:
        """Folder of what can be made again: which keys the nodes had last."""
        return self.root / ".edgepipe" / "state"


def marks(start: Path, root: Path) -> Iterator[Path]:
    """The files that, being there or not, make ``root`` the project around a file or folder."""
    start = start.absolute()
    folder = start if start.is_dir() else start.parent
    for path in (folder, *folder.parents):
        yield from (path / mark for mark in _MARKS)
        # A folder without any is one as long as those above it have none either.
        if path == root and any((path / mark).exists() for mark in _MARKS):
            return


def find(start: Path) -> Project:
    """The project around a file or folder: the nearest folder with an ``edgepipe.toml``, a
    ``pyproject.toml`` or a ``.git``; without one, the folder itself.

    The cache is, in this order: ``$EDGEPIPE_CACHE``, ``cache`` in ``edgepipe.toml``,
    ``$XDG_CACHE_HOME/edgepipe``, ``~/.cache/edgepipe``. Its size cap is ``$EDGEPIPE_CACHE_SIZE``
    or ``cache_size``.

    Raises:
        ConfigError: ``edgepipe.toml`` cannot be read, or holds something unknown.
    """
    start = start.absolute()
    folder = start if start.is_dir() else start.parent
    root = next(
        (p for p in (folder, *folder.parents) if any((p / m).exists() for m in _MARKS)), folder
    )
    settings = _read(root / FILE)
    plugins = settings.get("plugins", ["plugins"])
    cache = _cache(root, settings)
    return Project(
        root=root,
        plugins=tuple(_inside(root, name) for name in plugins),
        cache=cache,
        envs=cache / "envs",
        cache_size=_cache_size(root, settings),
        remote=settings.get("remote", {}),
    )


def _cache_size(root: Path, settings: dict[str, Any]) -> int | None:
    for name, text in (
        ("EDGEPIPE_CACHE_SIZE", os.environ.get("EDGEPIPE_CACHE_SIZE")),
        ("cache_size", settings.get("cache_size")),
    ):
        if text:
            try:
                return parse_size(text)
            except ValueError as error:
                message, _, hint = str(error).partition(": ")
                where = place_of(root, name) if name in settings else None
                raise ConfigError(Problem(f"{name}: {message}", hint, where)) from None
    return None


def place_of(root: Path, name: str, table: str = "") -> Where:
    """Where a setting stands in a project's ``edgepipe.toml``."""
    try:
        text = (root / FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    return tomlplaces.setting(root / FILE, text, name, table)


def expanded(path: str) -> Path:
    """A path whose ``~`` or ``~user`` is replaced by a home, as a shell does it.

    Raises:
        ConfigError: there is no such user, or nothing says where the home is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        message = f"'{path}' names a home that is not known: {path.partition('/')[0]}"
        raise ConfigError(message, "write the path in full, from / on") from None


def _cache(root: Path, settings: dict[str, Any]) -> Path:
    if value := os.environ.get("EDGEPIPE_CACHE"):
        return expanded(value).absolute()
    if "cache" in settings:
        return (root / expanded(settings["cache"])).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(base).absolute() / "edgepipe"


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        message = f"plugins: '{name}' is outside the project"
        hint = f"plug-ins are folders below {root}"
        raise ConfigError(Problem(message, hint, place_of(root, "plugins")))
    return root / name


def _read(path: Path) -> dict[str, Any]:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return {}
    text = body.decode(errors="replace")
    try:
        settings = tomllib.loads(body.decode())
    except ValueError as error:
        raise tomlplaces.syntax_error(path, text, error) from None
    for name, value in settings.items():
        where = tomlplaces.setting(path, text, name)
        if name not in _SETTINGS:
            hint = did_you_mean(name, _SETTINGS, "settings")
            raise ConfigError(Problem(f"unknown setting '{name}'", hint, where))
        if name == "remote" and isinstance(value, dict):
            continue
        items = value if isinstance(value, list) else [value]
        is_text = all(isinstance(item, str) for item in items)
        is_list = isinstance(value, list)
        if not is_text or is_list is not (name == "plugins") or name == "remote":
            message, _, hint = f"'{name}' must be {_SETTINGS[name]}".partition(", ")
            raise ConfigError(Problem(message, hint, where))
    return settings
