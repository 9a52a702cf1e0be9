"""Start a project in a folder: a pipeline that runs, a target, a stage of your own, a CI job."""

from __future__ import annotations

import argparse
import shlex
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from edgepipe import __version__
from edgepipe.cli._common import add_json, print_json
from edgepipe.errors import ConfigError

_PLACES = {"gitignore": ".gitignore", "ci/edgepipe.yml": ".github/workflows/edgepipe.yml"}
"""Files whose name in the package is not their name in a project."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    contents = dict(_templates(files("edgepipe") / "templates" / "project"))
    contents["requirements.txt"] = f"edgepipe=={__version__}\n"
    folder: Path = options.folder
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", "give the name of a new one")
    taken = [name for name in sorted(contents) if (folder / name).exists()]
    if taken:
        raise ConfigError(
            f"{folder / taken[0]} is there already", "nothing was written: give an empty folder"
        )
    for name, text in sorted(contents.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if options.json:
        print_json({"folder": str(folder), "files": sorted(contents)})
        return 0
    for name in sorted(contents):
        print(folder / name)
    print(f"\nnext:\n  cd {shlex.quote(str(folder))}\n  edgepipe run pipelines/digits_int8.yaml")
    return 0


def _templates(folder: Traversable, prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for item in folder.iterdir():
        name = prefix + item.name
        if item.is_dir():
            if item.name != "__pycache__":
                found += _templates(item, f"{name}/")
        else:
            found.append((_PLACES.get(name, name), item.read_text(encoding="utf-8")))
    return found
