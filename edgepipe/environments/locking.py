"""Makes locks: pip chooses versions, and what an environment leaves out is taken away."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgepipe.environments import Environment
from edgepipe.environments.lockfile import Lock, Locked, normal, write_lock
from edgepipe.environments.pip import interpreter, make_venv, pip_install
from edgepipe.errors import ConfigError, EdgepipeError

Tell = Callable[[str], None]
"""Takes a line that says what is going on: these things take minutes."""


def lock(environment: Environment, tell: Tell, python: Path | None = None) -> Lock:
    """Let pip resolve an environment's requirements, and write what it chose beside the ``.toml``.

    Only wheels are taken: building from source would run code that no hash covers.

    Raises:
        ConfigError: there is no interpreter for it.
        EdgepipeError: pip finds nothing that fits.
    """
    found = interpreter(environment, python)
    tell(f"resolving {environment.name}: {', '.join(environment.requirements)}")
    with tempfile.TemporaryDirectory(prefix="edgepipe-lock-") as name:
        folder = Path(name)
        make_venv(found, folder / "venv")
        report = folder / "report.json"
        arguments = ["--dry-run", "--ignore-installed", "--report", str(report)]
        done = pip_install(folder / "venv", [*arguments, *_checked(environment.requirements)])
        if done.failed:
            first, *rest = done.errors or [f"pip ended with status {done.code}"]
            message = f"the environment '{environment.name}' cannot be locked: {first}"
            raise EdgepipeError(message, "\n".join(rest[:4]) or "change its requirements")
        chosen = json.loads(report.read_bytes())["install"]
    packages = {normal(item["metadata"]["name"]): item for item in chosen}
    needed = _needed(environment, packages)
    locked = {name: _locked(name, packages[name]) for name in needed}
    return write_lock(environment.lock_path, environment.python, environment.asked, locked)


def _checked(requirements: Sequence[str]) -> list[str]:
    for text in requirements:
        if text.startswith("-"):
            hint = "options are pip's own settings: PIP_INDEX_URL, pip.conf"
            raise ConfigError(f"'{text}' is an option of pip, no requirement", hint)
    return list(requirements)


def _locked(name: str, item: Mapping[str, Any]) -> Locked:
    hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
    if "sha256" not in hashes:
        message = f"{name} comes from a folder or a repository, which has no hash"
        raise EdgepipeError(message, "build a wheel of it, and name that")
    return Locked(item["metadata"]["version"], (hashes["sha256"],))


def _needed(environment: Environment, packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is left of pip's choice without what the environment leaves out."""
    without = set(map(normal, environment.without))
    for name in sorted(without - packages.keys()):
        message = f"'without' of the environment '{environment.name}' names {name}"
        raise ConfigError(message, "nothing requires it: take it out")
    if not without:
        return list(packages)
    found: dict[str, set[str]] = {}
    waiting = [_required(text) for text in environment.requirements]
    while waiting:
        name, extras, _ = waiting.pop()
        known = found.get(name)
        if name in without or name not in packages or (known is not None and extras <= known):
            continue
        found[name] = extras | (known or set())
        for text in packages[name]["metadata"].get("requires_dist") or ():
            other, wanted, condition = _required(text)
            # Other conditions are not read: what pip did not choose is not in its report.
            if condition is None or condition in found[name]:
                waiting.append((other, wanted, None))
    return sorted(found)


def _required(text: str) -> tuple[str, set[str], str | None]:
    """Name, extras and the extra on which a requirement depends (PEP 508)."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?", text)
    if found is None:
        raise ConfigError(f"'{text}' is no requirement", "write NAME==VERSION")
    extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", text)
    extras = {normal(name.strip()) for name in (found[2] or "").split(",") if name.strip()}
    return normal(found[1]), extras, normal(extra[1]) if extra else None
