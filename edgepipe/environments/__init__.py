"""Locked environments: what a project and its packages of stages say of them, and what is built.

``configs/envs/NAME.toml`` says what an environment holds, ``NAME.lock`` beside it the exact
versions and hashes. A built one is a folder named after the lock, the interpreter and the
platform, so that projects share it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepipe import tomlplaces
from edgepipe.digest import digest_value
from edgepipe.environments.lockfile import Lock, normal, platform, read_lock
from edgepipe.errors import ConfigError, Problem, Where, did_you_mean

FOLDER = Path("configs") / "envs"
"""Where a project keeps its environments."""
IN_PACKAGE = "_envs"
"""Where a package of stages keeps those that its stages name."""
MARKER = "edgepipe-env.json"
"""The file that a built environment gets last; without it, it is not used."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PYTHON = re.compile(r"3\.\d+(\.\d+)?")
_OLDEST_MINOR = 11
_LISTS = ("requirements", "without")
_SETTINGS = {
    "python": "a text, like '3.11'",
    "description": "a text, for people",
    "requirements": "a list of texts, like ['torch==2.13.0']",
    "without": "a list of texts, like ['transformers']",
}


@dataclass(frozen=True)
class Environment:
    """An environment by name; `problem` says why it cannot be used, if it cannot."""

    name: str
    path: Path
    """The ``.toml``; the lock is beside it."""
    python: str
    """``3.11``, or an exact version."""
    requirements: tuple[str, ...]
    without: tuple[str, ...] = ()
    """Distributions that others require and that are left out, with what only they require."""
    description: str = ""
    lock: Lock | None = None

    @property
    def lock_path(self) -> Path:
        """Where its lock is, or is to be."""
        return self.path.with_suffix(".lock")

    @cached_property
    def asked(self) -> str:
        """Digest of what the lock has to hold."""
        without = sorted(map(normal, self.without))
        value = {"python": self.python, "requirements": sorted(self.requirements)}
        return digest_value("environment", {**value, "without": without})[:32]

    @property
    def digest(self) -> str:
        """Names the built folder: the lock, the interpreter's version and the platform."""
        assert self.lock is not None
        value = {"lock": self.lock.digest, "python": self.python, "platform": platform()}
        return digest_value("environment", value)[:32]

    def version(self, distribution: str) -> str | None:
        """The locked version of a distribution; None if the environment does not hold it."""
        found = self.lock.packages.get(normal(distribution)) if self.lock else None
        return None if found is None else found.version

    def folder(self, home: Path) -> Path:
        """Where it is built, below the folder of all environments."""
        return home / self.digest

    def interpreter(self, home: Path) -> Path:
        """The executable that workers are started with."""
        return self.folder(home) / "bin" / "python"

    def built(self, home: Path) -> bool:
        """Whether it is there, whole, and its interpreter too."""
        return marker(self.folder(home)) is not None and self.interpreter(home).exists()

    def problem(self, where: Where | None = None) -> Problem | None:
        """Why it cannot be built or used here as it stands: there is no lock that fits."""
        hint = f"make it: edgepipe env lock {self.name}"
        if self.lock is None:
            return Problem(f"the environment '{self.name}' has no lock", hint, where)
        if self.lock.asked != self.asked:
            message = f"the lock of the environment '{self.name}' does not fit {self.path.name}"
            hint = f"lock it again: edgepipe env lock {self.name}"
            return Problem(message, hint, where)
        if self.lock.platform != platform():
            message = (
                f"the lock of the environment '{self.name}' is for {self.lock.platform}, and this"
                f" machine is {platform()}"
            )
            return Problem(message, f"lock it here: edgepipe env lock {self.name}", where)
        return None


def marker(folder: Path) -> dict[str, Any] | None:
    """What a built environment says of itself; None if the folder holds no whole one."""
    try:
        value = json.loads((folder / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@dataclass(frozen=True)
class Environments:
    """All environments within reach; of two with one name the first folder's counts."""

    folders: Sequence[Path]
    _read: dict[str, Environment] = field(default_factory=dict)

    @classmethod
    def of(cls, project: Path, packages: Sequence[Path]) -> Environments:
        """Those of a project, and those that packages of stages bring along."""
        return cls((project / FOLDER, *(package / IN_PACKAGE for package in packages)))

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Name → its ``.toml``."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*.toml")):
                found.setdefault(path.stem, path)
        return dict(sorted(found.items()))

    def get(self, name: str, where: Where | None = None) -> Environment:
        """An environment by name.

        Raises:
            ConfigError: there is none, or its files are wrong.
        """
        if name not in self._read:
            self._read[name] = read(self.path(name, where))
        return self._read[name]

    def path(self, name: str, where: Where | None = None) -> Path:
        """The ``.toml`` of an environment. Raises ConfigError where there is none."""
        if name not in self.paths:
            hint = did_you_mean(name, self.paths, "environments")
            hint += f"\na project's own are {FOLDER}/NAME.toml"
            raise ConfigError(Problem(f"there is no environment '{name}'", hint, where))
        return self.paths[name]

    def all(self) -> Iterator[Environment]:
        """Every one, by name. Raises ConfigError where a file is wrong."""
        for name in self.paths:
            yield self.get(name)


def read(path: Path, *, with_lock: bool = True) -> Environment:
    """An environment from its ``.toml`` and the lock beside it, if there is one.

    Args:
        path: the ``.toml``.
        with_lock: read the lock too; not where it is to be made anew.

    Raises:
        ConfigError: a file cannot be read, or holds something else than it should.
    """
    text = ""

    def wrong(message: str, hint: str, setting: str = "") -> ConfigError:
        return ConfigError(Problem(message, hint, tomlplaces.setting(path, text, setting)))

    try:
        text = path.read_text(encoding="utf-8")
        settings = tomllib.loads(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{path} cannot be read: {reason}") from None
    except ValueError as error:
        raise tomlplaces.syntax_error(path, text, error) from None
    if not _NAME.fullmatch(path.stem):
        raise wrong(f"'{path.stem}' is not a name", "letters, digits, '_' and '-'")
    for name, value in settings.items():
        if name not in _SETTINGS:
            raise wrong(
                f"unknown setting '{name}'", did_you_mean(name, _SETTINGS, "settings"), name
            )
        items = value if isinstance(value, list) else [value]
        is_text = all(isinstance(item, str) for item in items)
        if not is_text or isinstance(value, list) is not (name in _LISTS):
            message, _, hint = f"'{name}' must be {_SETTINGS[name]}".partition(", ")
            raise wrong(message, hint, name)
    python = settings.get("python", "")
    if not _PYTHON.fullmatch(python):
        raise wrong("'python' must be a version of Python 3", "like '3.11'", "python")
    if int(python.split(".")[1]) < _OLDEST_MINOR:
        raise wrong(
            f"stages do not run in Python {python}", f"3.{_OLDEST_MINOR} is the oldest", "python"
        )
    if not settings.get("requirements"):
        raise wrong("'requirements' is missing", "like ['torch==2.13.0']")
    lock_path = path.with_suffix(".lock")
    return Environment(
        name=path.stem,
        path=path,
        python=python,
        requirements=tuple(settings["requirements"]),
        without=tuple(settings.get("without", ())),
        description=settings.get("description", ""),
        lock=read_lock(lock_path) if with_lock and lock_path.is_file() else None,
    )
