"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.cli._common import add_json, print_json

if TYPE_CHECKING:
    from edgepipe.project import Project

MINIMUM_FREE = 2_000_000_000
"""Bytes that the cache's file system should have free for a first run."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--project", type=Path, default=Path(), metavar="DIR", help="whose plug-ins count"
    )
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.project import find

    project = find(options.project)
    checks = [
        *_machine(project.cache),
        *_distributions(project.plugins),
        *_environments(project),
    ]
    if options.json:
        print_json({"ok": all(c["ok"] for c in checks), "checks": checks})
    else:
        width = max(len(c["name"]) for c in checks)
        for check in checks:
            mark = "ok     " if check["ok"] else "MISSING"
            print(f"{mark} {check['name']:<{width}}  {check['found']}")
            if not check["ok"]:
                print(f"        {check['hint']}")
    return 0 if all(c["ok"] for c in checks) else 1


def _check(name: str, found: str, ok: bool = True, hint: str = "") -> dict[str, Any]:
    return {"name": name, "found": found, "ok": ok, "hint": hint}


def _machine(cache: Path) -> list[dict[str, Any]]:
    from edgepipe.key import machine

    facts = machine()
    there = next(p for p in (cache, *cache.parents) if p.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    room = f"make room there, or set EDGEPIPE_CACHE to a folder with {MINIMUM_FREE / 1e9:.0f} GB"
    return [
        _check("python", f"{platform.python_version()} at {sys.executable}"),
        _check("machine", f"{facts['system']}, {facts['cores']} cores"),
        _check("processor", str(facts["cpu"])),
        _check("cache", f"{cache}, {free / 1e9:.1f} GB free", free >= MINIMUM_FREE, room),
        _check("cache is writable", str(writable).lower(), writable, f"make {there} writable"),
    ]


def _distributions(plugins: tuple[Path, ...]) -> list[dict[str, Any]]:
    from edgepipe.key import installed
    from edgepipe.kinds import Kinds

    users: dict[str, list[str]] = {}
    for name, kind in Kinds(plugins).all.items():
        if kind.stage.environment is not None:
            continue
        for distribution in kind.stage.requires:
            users.setdefault(distribution, []).append(name)
    checks = []
    for distribution, kinds in sorted(users.items()):
        version = installed(distribution)
        hint = f"needed by {', '.join(kinds)}: pip install {distribution}"
        checks.append(_check(distribution, version or "not installed", version is not None, hint))
    return checks


def _environments(project: Project) -> list[dict[str, Any]]:
    from edgepipe.environments import Environments
    from edgepipe.errors import ConfigError
    from edgepipe.kinds import packages

    checks = []
    known = Environments.of(project.root, packages())
    for name in known.paths:
        try:
            environment = known.get(name)
            problem = environment.problem()
        except ConfigError as error:
            problem = error.problems[0]
        name = f"environment {name}"
        if problem is not None:
            checks.append(_check(name, problem.message, False, problem.hint))
        elif environment.built(project.envs):
            checks.append(_check(name, f"built, Python {environment.python}"))
        else:
            # Most projects need none of those that are within reach.
            found = f"not built; if you need it: edgepipe env sync {environment.name}"
            checks.append(_check(name, found))
    return checks
