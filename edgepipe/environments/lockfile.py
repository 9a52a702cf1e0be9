"""``NAME.lock``: the exact versions and hashes of an environment, in pip's format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgepipe.digest import digest_value
from edgepipe.errors import ConfigError, Problem, Where

_HEAD = re.compile(r"# (\w+): (.+)")
_PACKAGE = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?P<hashes>( --hash=sha256:\w{64})+)"
)


def platform() -> str:
    """The platform that wheels are chosen for: ``linux-x86_64``."""
    import sysconfig

    return sysconfig.get_platform()


def normal(name: str) -> str:
    """A distribution's name as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Locked:
    """One distribution of a lock."""

    version: str
    hashes: tuple[str, ...]
    """sha256 of the files that may be installed, in order."""


@dataclass(frozen=True)
class Lock:
    """What a ``NAME.lock`` holds."""

    path: Path
    python: str
    platform: str
    asked: str
    """Digest of what was to be locked."""
    packages: Mapping[str, Locked]
    """By normal name."""

    @cached_property
    def digest(self) -> str:
        """Of everything that decides what is installed; comments and order do not."""
        packages = {n: [p.version, list(p.hashes)] for n, p in self.packages.items()}
        return digest_value("environment", {"python": self.python, "packages": packages})


def read_lock(path: Path) -> Lock:
    """Read what `write_lock` wrote, in pip's format. Raises ConfigError where it is damaged."""
    head: dict[str, str] = {}
    packages: dict[str, Locked] = {}
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for number, line in enumerate(joined.splitlines(), 1):
        text = " ".join(line.split())
        if found := _PACKAGE.fullmatch(text):
            hashes = re.findall(r"sha256:(\w+)", found["hashes"])
            packages[normal(found["name"])] = Locked(found["version"], tuple(sorted(hashes)))
        elif about := _HEAD.fullmatch(text):
            head[about[1]] = about[2]
        elif text and not text.startswith("#"):
            message = f"the lock is damaged: entry {number} is no NAME==VERSION --hash=sha256:…"
            hint = f"make it again: edgepipe env lock {path.stem}"
            raise ConfigError(Problem(message, hint, Where(str(path), 1, 1)))
    return Lock(
        path,
        head.get("python", ""),
        head.get("platform", ""),
        head.get("asked", ""),
        dict(sorted(packages.items())),
    )


def write_lock(path: Path, python: str, asked: str, packages: Mapping[str, Locked]) -> Lock:
    """Write a lock by one rename, as ``pip install --require-hashes`` takes it.

    Args:
        path: where to; the ``.toml`` is beside it.
        python: the version that it is for.
        asked: digest of what was to be locked.
        packages: by name.
    """
    lines = [
        f"# Made by edgepipe env lock {path.stem}; change {path.stem}.toml, not this.",
        f"# python: {python}",
        f"# platform: {platform()}",
        f"# asked: {asked}",
    ]
    for name, package in sorted(packages.items()):
        hashes = (f"    --hash=sha256:{digest}" for digest in package.hashes)
        lines.append(" \\\n".join((f"{name}=={package.version}", *hashes)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".lock.tmp")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)
    return read_lock(path)
