"""Run a pipeline. Nodes whose results are in the cache are not run again."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgepipe import __version__, runs
from edgepipe.cli._common import (
    INTERRUPTED,
    Compiled,
    add_json,
    add_pipeline,
    compile_pipeline,
    print_json,
    print_tables,
)
from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.events import Event, Listener, RunFinished
from edgepipe.results import RunResult

EXIT = {"done": 0, "failed": 1, "gate failed": 3, "interrupted": INTERRUPTED}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_pipeline(parser)
    parser.add_argument("--until", metavar="NODE", help="only this node and what it needs")
    parser.add_argument(
        "--fresh",
        action="append",
        default=[],
        metavar="NODE",
        help="run it though it is cached; 'all'",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="nodes at once; all cores if left out"
    )
    parser.add_argument("--no-keep-going", action="store_true", help="stop at the first failure")
    parser.add_argument("--plain", action="store_true", help="lines instead of the live board")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write report.html here")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append a markdown summary")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write results as JUnit XML")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.executor.local import LocalExecutor
    from edgepipe.runner import Options, Runner

    if options.jobs is not None and options.jobs < 1:
        raise ConfigError("--jobs must be at least 1")
    compiled = compile_pipeline(options)
    graph, project = compiled.graph, compiled.project
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    run_id = runs.new_id(graph.name)
    folder = project.runs / run_id
    listener, close = _listener(options)
    jobs = options.jobs or cores
    settings = Options(cores, jobs, _fresh(options.fresh, compiled), not options.no_keep_going)
    signal.signal(signal.SIGTERM, _terminate)
    started, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    try:
        runner = Runner(compiled.planner, LocalExecutor(jobs), listener, settings, folder / "logs")
        outcome = runner.run(run_id)
        result = RunResult(
            id=run_id,
            pipeline=graph.name,
            file=str(options.pipeline),
            started=started,
            seconds=time.perf_counter() - begin,
            status=outcome.status,
            seed=graph.seed,
            nodes=tuple(outcome.nodes.values()),
            gates=tuple(outcome.gates),
            machine=_machine(),
            versions=_versions(compiled),
            edgepipe=__version__,
        )
        listener(RunFinished(result, str(folder)))
    finally:
        close()
    runs.save(folder, result)
    _write_reports(options, result, folder)
    if options.json:
        print_json({**result.as_json(), "folder": str(folder)})
    else:
        print_tables(result)
        print(f"report: {_near(folder / 'report.html')}")
    return EXIT[result.status]


def _terminate(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _fresh(names: list[str], compiled: Compiled) -> frozenset[str]:
    nodes = compiled.graph.nodes
    fresh: set[str] = set()
    for name in names:
        found = {n for n in nodes if name in {"all", n, n.partition("[")[0]}}
        if not found:
            raise ConfigError(
                f"--fresh: there is no node '{name}'", did_you_mean(name, nodes, "nodes")
            )
        fresh |= found
    return frozenset(fresh)


def _listener(options: argparse.Namespace) -> tuple[Listener, Any]:
    """Who shows the run: the board on a terminal, else lines; with --json, lines on stderr."""
    stream = sys.stderr if options.json else sys.stdout
    if stream.isatty() and not options.plain and os.environ.get("TERM") != "dumb":
        return _board_when_needed(stream)
    from edgepipe.report.lines import Lines

    return Lines(stream), lambda: None


def _board_when_needed(stream: Any) -> tuple[Listener, Any]:
    """A board that appears with the first node that runs: a run without work needs none."""
    from edgepipe.events import NodeStarted

    held: list[Event] = []
    board: list[Any] = []

    def listener(event: Event) -> None:
        if not board and isinstance(event, NodeStarted):
            from edgepipe.report.board import Board

            board.append(Board(stream))
            for earlier in held:
                board[0](earlier)
        if board:
            board[0](event)
        else:
            held.append(event)

    def close() -> None:
        for shown in board:
            shown.close()

    return listener, close


def _write_reports(options: argparse.Namespace, result: RunResult, folder: Path) -> None:
    from edgepipe.report.html import render

    page = render(result)
    for path in [folder / "report.html", *([options.report] if options.report else [])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    if options.summary:
        from edgepipe.report.markdown import render as markdown

        with options.summary.open("a", encoding="utf-8") as file:
            file.write(markdown(result))
    if options.junit:
        from edgepipe.report.junit import render as junit

        options.junit.write_text(junit(result), encoding="utf-8")


def _machine() -> dict[str, Any]:
    from edgepipe.key import machine

    memory = 0
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {**machine(), "memory": memory, "python": platform.python_version()}


def _versions(compiled: Compiled) -> dict[str, str]:
    from edgepipe.key import requirements

    versions: dict[str, str] = {}
    for node in compiled.graph.nodes.values():
        where = f" ({node.environment.name})" if node.environment else ""
        versions |= {f"{name}{where}": v for name, v in requirements(node).items()}
    return dict(sorted(versions.items()))


def _near(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
