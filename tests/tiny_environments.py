"""Environments of wheels that are made in no time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from projects import Finished, Folder
from small_wheels import wheel

TINY = '# first\npython = "3.11"\nrequirements = ["tinylib>=1"]\n'.replace(
    "3.11", "{}.{}".format(*sys.version_info)
)


PIPELINE = """\
edgepipe: 1
name: p
stages:
  first: {uses: numbers}
  there:
    uses: foreign
    with: {rate: 2, group: {names: [a, b]}}
  last: {uses: double, in: {values: there.values}}
"""


def make_wheels(folder: Path) -> None:
    wheel(folder, "tinylib", "1.0", ["tinydep"], "from tinydep import value\n")
    wheel(folder, "tinydep", "1.5", (), "def value(): return 5.0\n")


def lock_of(project: Folder, name: str = "tiny") -> Path:
    return project.path / "configs" / "envs" / f"{name}.lock"


def relock(project: Folder, **env: str) -> None:
    done = project.edgepipe("env", "lock", "tiny", **env)
    assert done.code == 0, done.err


def sync(project: Folder, *names: str) -> Any:
    done = project.edgepipe("env", "sync", *(names or ("tiny",)), "--json")
    assert done.code == 0, done.err
    return done.json


def built(project: Folder) -> list[Path]:
    folder = project.cache / "envs"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def rows(project: Folder) -> dict[str, Any]:
    done = project.edgepipe("env", "list", "--json")
    assert done.code == 0, done.err
    return {row["name"]: row for row in done.json}


def seen(project: Folder) -> Any:
    return json.loads((project.path / "seen.json").read_text())


def statuses(done: Finished) -> dict[str, str]:
    return {node["name"]: node["status"] for node in done.json["nodes"]}


def run(project: Folder, *arguments: str) -> Finished:
    done = project.edgepipe("run", "p.yaml", "--json", *arguments)
    assert done.code == 0, done.out + done.err
    return done
