"""Run a pipeline. Nodes whose results are in the cache are not run again."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgepipe import __version__, runs, temporary
from edgepipe.cli import _answers
from edgepipe.cli._asking import asking
from edgepipe.cli._common import (
    INTERRUPTED,
    Compiled,
    add_json,
    add_pipeline,
    compile_pipeline,
    json_text,
    open_remote,
    tables,
)
from edgepipe.cli._parser import whole
from edgepipe.cli._telling import Telling
from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.events import RunFinished
from edgepipe.replacing import clear
from edgepipe.results import RunResult

EXIT = {"done": 0, "failed": 1, "gate failed": 3, "interrupted": INTERRUPTED}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_pipeline(parser)
    parser.add_argument("--until", metavar="NODE", help="only this node and what it needs")
    parser.add_argument(
        "--from",
        dest="from_",
        metavar="NODE",
        help="only this node and what is made from it; what it reads must be cached",
    )
    parser.add_argument(
        "--fresh",
        action="append",
        default=[],
        metavar="NODE",
        help="run it though it is cached; 'all'",
    )
    parser.add_argument(
        "--jobs", type=whole, metavar="N", help="nodes at once; all cores if left out"
    )
    parser.add_argument(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after a failure, finish what does not depend on it",
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of the live board")
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write report.html here")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append a markdown summary")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write results as JUnit XML")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError("--jobs must be at least 1")
    since = time.time_ns()
    compiled = compile_pipeline(options)
    fresh = _fresh(options.fresh, compiled)
    remote = open_remote(compiled.project)
    decisions = compiled.planner.plan(fresh, asking(remote))
    if options.from_:
        _check_before(options.from_, compiled, decisions)
    keys = {d.node.name: d.key.digest for d in decisions if d.record and d.key and not d.remote}
    names = _answers.names(compiled) if options.question else {}
    found = None
    if len(keys) == len(decisions):
        found = runs.same(
            compiled.project.runs,
            compiled.graph.name,
            keys,
            lambda result: _shows(result, options, compiled.graph, decisions),
        )
    if found is None:
        folder, result, records = _run(options, compiled, decisions, fresh, remote)
    else:
        records = [decision.record for decision in decisions]
        folder, result = found[0], found[1].repeated()
        _answers.hold(compiled, result)
        for name, key in keys.items():
            compiled.planner.last.set(name, key)
        compiled.planner.last.save()
        compiled.planner.files.save()
        clear(os.fspath(compiled.project.runs))
        compiled.planner.store.clean()
        temporary.clean()
    _write_reports(options, result)
    print(_text(options, result, folder), end="")
    writes = options.report or options.summary or options.junit
    if options.question and EXIT[result.status] in {0, 3} and not fresh and not writes:
        text = _text(options, result.repeated(), folder)
        answer = (EXIT[result.status], text)
        _answers.remember(options.question, answer, compiled, result, records, folder, names, since)
    return EXIT[result.status]


def _shows(
    result: RunResult, options: argparse.Namespace, graph: Any, decisions: list[Any]
) -> bool:
    """Whether an earlier run of the same keys shows what this one would."""
    # What is not deterministic may have been made anew under its key, by another run.
    made = {d.node.name: {p: o.tree for p, o in d.record.outputs.items()} for d in decisions}
    gates = [gate.text for gate, _ in graph.gates]
    inputs = {
        name: {p: str(s) for p, s in node.inputs.items()} for name, node in graph.nodes.items()
    }
    shown = {n.name: (n.inputs, {p: o.digest for p, o in n.outputs.items()}) for n in result.nodes}
    return (
        result.file == str(options.pipeline)
        and result.seed == graph.seed
        and [gate.text for gate in result.gates] == gates
        and shown == {name: (inputs[name], made[name]) for name in shown}
    )


def _text(options: argparse.Namespace, result: RunResult, folder: Path) -> str:
    if options.json:
        return json_text({**result.as_json(), "folder": str(folder)})
    return f"{tables(result)}\nreport: {_near(folder / 'report.html')}\n"


def _run(
    options: argparse.Namespace,
    compiled: Compiled,
    decisions: list[Any],
    fresh: frozenset[str],
    remote: Any,
) -> tuple[Path, RunResult, list[Any]]:
    from edgepipe.executor.local import LocalExecutor
    from edgepipe.machine import this_machine
    from edgepipe.runner import Options, Runner

    graph = compiled.graph
    there = this_machine()
    jobs = options.jobs or there.cores
    run_id = runs.new_id(graph.name)
    folder = compiled.project.runs / run_id
    tell = Telling(json=options.json, plain=options.plain)
    settings = Options(there, jobs, fresh, options.keep_going)
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Under nohup it is to go on without its terminal.
        signal.signal(signal.SIGHUP, _hang_up)
    started, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
    with runs.going_on(folder):
        try:
            runner = Runner(
                compiled.planner,
                LocalExecutor(jobs),
                tell,
                settings,
                folder / "logs",
                remote,
            )
            outcome = runner.run(run_id, decisions)
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
                warnings=tuple(tell.warnings),
                source=compiled.planner.last.pipeline,
            )
            tell(RunFinished(result, str(folder)))
        finally:
            tell.close()
        try:
            # First: a kill in between must leave no recorded run without its report.
            _write_page(folder / "report.html", result)
        finally:
            runs.save(folder, result)
    return folder, result, list(runner.records.values())


def _terminate(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _hang_up(number: int, frame: Any) -> None:
    # The kernel and a shell may both send it: that is not asked for twice.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
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


def _check_before(target: str, compiled: Compiled, decisions: list[Any]) -> None:
    """With ``--from``, what comes before must be there."""
    kept = compiled.graph.after(target)
    missing = [d.node.name for d in decisions if d.node.name not in kept and d.record is None]
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" * (len(missing) > 5))
        raise ConfigError(
            f"--from {target}: what comes before is not cached: {shown}", "leave --from out"
        )


def _write_page(path: Path, result: RunResult) -> None:
    from edgepipe.report.html import render

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(result), encoding="utf-8")


def _write_reports(options: argparse.Namespace, result: RunResult) -> None:
    """The files that the arguments ask for."""
    if options.report:
        _write_page(options.report, result)
    if options.summary:
        from edgepipe.report.markdown import render as markdown

        with options.summary.open("a", encoding="utf-8") as file:
            file.write(markdown(result))
    if options.junit:
        from edgepipe.report.junit import render as junit

        options.junit.write_text(junit(result), encoding="utf-8")


def _machine() -> dict[str, Any]:
    from edgepipe.key import machine
    from edgepipe.machine import this_machine

    return {**machine(), "memory": this_machine().memory, "python": platform.python_version()}


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
