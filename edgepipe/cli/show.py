"""A run's results: the same tables as at its end, or JSON."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgepipe import runs
from edgepipe.cli._common import RUN_HELP, add_json, print_json, tables


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", nargs="?", default="last", metavar="RUN|PIPELINE", help=RUN_HELP)
    parser.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="whose run")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.project import find

    folder, result = runs.load(find(options.project).runs, options.run)
    if options.json:
        print_json({**result.as_json(), "folder": str(folder)})
    else:
        print(tables(result))
    return 0
