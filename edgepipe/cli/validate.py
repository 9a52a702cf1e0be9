"""Check pipelines without running them: syntax, parameters, references, types, gates."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgepipe.cli._common import add_json, compile_pipeline, print_json
from edgepipe.errors import ConfigError, Problem


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pipelines", type=Path, nargs="+", help="YAML files")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    problems: list[Problem] = []
    found = []
    for path in options.pipelines:
        try:
            compiled = compile_pipeline(
                argparse.Namespace(pipeline=path, set=options.set, cache=None)
            )
        except ConfigError as error:
            problems += error.problems
            continue
        graph = compiled.graph
        found.append({"file": str(path), "nodes": len(graph.nodes), "gates": len(graph.gates)})
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    if options.json:
        print_json({"ok": True, "pipelines": found})
    else:
        for item in found:
            print(f"{item['file']}: right, {item['nodes']} nodes, {item['gates']} gates")
    return 0
