"""What verbs share: arguments, error output and the way from a file to a graph."""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.cli import VERBS, load
from edgepipe.cli._parser import Parser, add_cache
from edgepipe.errors import ConfigError, EdgepipeError, did_you_mean

if TYPE_CHECKING:
    from edgepipe.graph import Graph
    from edgepipe.project import Project
    from edgepipe.results import RunResult

INTERRUPTED = 130
RUN_HELP = "an id or part of it, or a pipeline's file: its last run; the last of all if left out"


def guarded(verb: str, arguments: Sequence[str], question: str = "") -> int:
    """Run a verb; every error becomes a text on standard error and an exit code.

    Args:
        verb: its name.
        arguments: the rest of the command line.
        question: see `edgepipe.noop`; empty where no answer is to be kept.
    """
    if verb not in VERBS:
        print(
            f"error: there is no verb '{verb}'\n  {did_you_mean(verb, VERBS, 'verbs')}",
            file=sys.stderr,
        )
        return 2
    module: Any = load(verb)
    here = _current()
    parser = Parser(
        prog=f"edgepipe {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    module.configure(parser)
    # What says how an error is shown counts also where the arguments are wrong.
    options = argparse.Namespace(debug="--debug" in arguments, json="--json" in arguments)
    try:
        options = parser.parse_args(list(arguments))
        options.question = question
        return int(module.main(options))
    except EdgepipeError as error:
        return _report(error, options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # For `main`: what is still to be written may meet it too.
        raise
    except OSError as error:
        place = error.filename or ("" if _current() else here or "the current folder")
        told = (error.strerror or str(error)).lower()
        return _report(EdgepipeError(f"{place}: {told}" if place else told), options)


def _current() -> str:
    """The current folder; empty where it was deleted, also where another one has its name now."""
    try:
        return os.getcwd()  # noqa: PTH109  a Path costs more than the call
    except OSError:
        return ""


def _report(error: EdgepipeError, options: argparse.Namespace) -> int:
    if options.debug:
        traceback.print_exc()
    if getattr(options, "json", False):
        problems = [problem.as_json() for problem in error.problems]
        print(json.dumps({"ok": False, "errors": problems}, indent=1))
    else:
        print(error.render(), file=sys.stderr)
    return error.exit_code


@dataclass(frozen=True)
class Compiled:
    """A pipeline that was found right, with its project."""

    graph: Any
    project: Any
    kinds: Any
    planner: Any


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """The arguments of verbs that read one pipeline."""
    parser.add_argument("pipeline", type=Path, help="the YAML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="override a value: vars.epochs=3, student.with.temperature=2",
    )
    add_cache(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``: everything that is printed, as data."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def compile_pipeline(options: argparse.Namespace) -> Compiled:
    """Read, check and compile the pipeline that the arguments name. Raises ConfigError."""
    # What is made here stays to the end: to look through it for garbage, again and again, is a
    # third of the time that thousands of nodes take.
    gc.disable()
    try:
        return _compiled(options)
    finally:
        gc.freeze()
        gc.enable()


def _compiled(options: argparse.Namespace) -> Compiled:
    from dataclasses import replace

    from edgepipe.compiler import compile_graph
    from edgepipe.config import load as load_config
    from edgepipe.kinds import Kinds
    from edgepipe.planner import Planner
    from edgepipe.project import find

    config = load_config(options.pipeline, options.set)
    project = find(options.pipeline)
    if options.cache is not None:
        project = replace(project, cache=options.cache.absolute())
    kinds = Kinds(project.plugins)
    graph = compile_graph(config, kinds, project.root)
    graph = _part(graph, getattr(options, "from_", None), getattr(options, "until", None))
    _check_apart(graph, project)
    planner = Planner(graph, kinds.roots, project)
    planner.check()
    for warning in planner.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return Compiled(graph, project, kinds, planner)


def _check_apart(graph: Graph, project: Project) -> None:
    """Raise ConfigError where a node reads a folder in which runs write."""
    from edgepipe.sources import written_by_runs

    nodes = graph.nodes.values()
    problems = [p for node in nodes for p in written_by_runs(node.stage, node.tree, project)]
    if problems:
        raise ConfigError(dict.fromkeys(problems))


def _part(graph: Graph, begin: str | None, end: str | None) -> Graph:
    """The nodes that ``--from`` and ``--until`` leave."""
    last = graph.named(end) if end else frozenset()
    if begin:
        made = graph.after(begin)
        if last - made:
            raise ConfigError(f"--until {end}: it is not made from {begin}", "leave --from out")
        graph = graph.only(made)
    return graph.only(last) if last else graph


def open_remote(project: Any) -> Any:
    """The team's store, or None; its modules are imported where there is one.

    Raises:
        ConfigError: its settings are wrong.
    """
    if not project.remote and not os.environ.get("EDGEPIPE_REMOTE"):
        return None
    from edgepipe.remote import Remote

    return Remote.open(project)


def json_text(value: Any) -> str:
    """Plain data for other programs, a line that is ended."""
    return json.dumps(value, indent=1) + "\n"


def print_json(value: Any) -> None:
    """Print plain data for other programs."""
    print(json_text(value), end="")


def tables(result: RunResult) -> str:
    """A run's tables, as wide as the terminal and in the letters that it can show."""
    from edgepipe.report.table import render
    from edgepipe.report.text import can_show

    columns = shutil.get_terminal_size((100, 24)).columns
    return render(result, max(80, min(100, columns)), can_show(sys.stdout))
