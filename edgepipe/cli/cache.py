"""The cache: what it holds, whether it is whole, and making room in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgepipe.cli import _cache, _cache_files, _remote
from edgepipe.cli._common import RUN_HELP, add_json
from edgepipe.cli._parser import add_cache, whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = verbs.add_parser("ls", help="all records, the last used first")
    usage = verbs.add_parser("du", help="how large it is, by kind of stage")
    gc = verbs.add_parser("gc", help="remove what no run and no pin holds")
    gc.add_argument("--max-size", metavar="SIZE", help="only until no larger, like '20 GB'")
    gc.add_argument(
        "--keep-runs",
        type=whole,
        metavar="N",
        help="hold what the last N runs of each pipeline used; 5 if left out",
    )
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    verify = verbs.add_parser("verify", help="read every object again")
    verify.add_argument(
        "--repair", action="store_true", help="put damaged objects away, so that they are made anew"
    )
    export = verbs.add_parser("export", help="write records and objects into one tar file")
    export.add_argument("file", type=Path, metavar="FILE")
    export.add_argument("nodes", nargs="*", metavar="NODE", help="of the run; all if left out")
    export.add_argument("--run", metavar="RUN|PIPELINE", help=f"only what a run used: {RUN_HELP}")
    take = verbs.add_parser("import", help="read such a file; every byte is checked first")
    take.add_argument("file", type=Path, metavar="FILE")
    pin = verbs.add_parser("pin", help="keep results for good; without arguments, list them")
    pin.add_argument(
        "what", nargs="*", metavar="NODE|KEY", help="of the last run, or a record's key"
    )
    unpin = verbs.add_parser("unpin", help="let gc remove them again")
    unpin.add_argument("what", nargs="+", metavar="NODE|KEY")
    push = verbs.add_parser("push", help="upload results to the store that the team shares")
    pull = verbs.add_parser("pull", help="fetch results from it")
    _remote.configure_push(push)
    _remote.configure_pull(pull)
    for verb in (pin, unpin):
        verb.add_argument("--run", default="last", metavar="RUN|PIPELINE", help=RUN_HELP)
    for verb in (listing, usage, gc, verify, export, take, pin, unpin):
        verb.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="whose cache")
        add_cache(verb)
        add_json(verb)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    actions = {
        "ls": _cache.listing,
        "du": _cache.usage,
        "gc": _cache.gc,
        "verify": _cache.verify,
        "export": _cache_files.export,
        "import": _cache_files.take_in,
        "pin": _cache_files.pin,
        "unpin": _cache_files.unpin,
        "push": _remote.push,
        "pull": _remote.pull,
    }
    return actions[options.action](options)
