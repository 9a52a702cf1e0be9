"""All kinds of stages; with a kind: its parameters, ports, metrics and an example."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgepipe.cli._common import add_json, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("kind", nargs="?", help="show this kind alone")
    parser.add_argument(
        "--project", type=Path, default=Path(), metavar="DIR", help="whose plug-ins count"
    )
    parser.add_argument("--format", choices=["text", "markdown"], default="text")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe import manual
    from edgepipe.kinds import Kinds
    from edgepipe.project import find

    kinds = Kinds(find(options.project).plugins)
    if options.kind:
        kind = kinds.get(options.kind)
        if options.json:
            print_json(manual.describe(kind))
        else:
            print(manual.text(kind))
        return 0
    if options.format == "markdown":
        from edgepipe.manual.reference import markdown

        print(markdown(kinds), end="")
        return 0
    if options.json:
        print_json([manual.describe(kind) for kind in kinds.all.values()])
        return 0
    width = max((len(name) for name in kinds.all), default=0)
    for name, kind in kinds.all.items():
        mark = "  (plug-in)" if kind.plugin else ""
        print(f"{name:<{width}}  {manual.summary(kind.stage)}{mark}")
    return 0
