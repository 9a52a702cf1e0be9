"""What a run would do: per node whether it is cached, or why it runs. Nothing is run."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from edgepipe.cli._asking import asking
from edgepipe.cli._common import (
    Compiled,
    add_json,
    add_pipeline,
    compile_pipeline,
    open_remote,
    print_json,
)
from edgepipe.cli._parser import whole
from edgepipe.errors import ConfigError
from edgepipe.units import seconds

if TYPE_CHECKING:
    from edgepipe.planner import Decision

WORK_TO_DO = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_pipeline(parser)
    parser.add_argument("--until", metavar="NODE", help="only this node and what it needs")
    parser.add_argument(
        "--check", action="store_true", help=f"exit {WORK_TO_DO} if there is work to do"
    )
    parser.add_argument(
        "--jobs",
        type=whole,
        metavar="N",
        help="estimate for N nodes at once; all cores if left out",
    )
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError("--jobs must be at least 1")
    compiled = compile_pipeline(options)
    remote = open_remote(compiled.project)
    decisions = compiled.planner.plan(ask=asking(remote))
    compiled.planner.files.save()
    warnings = list(dict.fromkeys(damage.said for damage in compiled.planner.store.damages))
    warnings += remote.warnings if remote else []
    try:
        compiled.planner.need_environments(decisions)
    except ConfigError as error:
        warnings += [f"{problem.message}: {problem.hint}" for problem in error.problems]
    rows: list[dict[str, Any]] = [
        {
            "node": decision.node.name,
            "kind": decision.node.kind.name,
            "status": decision.status,
            "reason": decision.reason,
            "seconds": decision.previous.seconds if decision.previous else None,
            "changes": [change.as_json() for change in decision.changes],
            "waits_for": list(decision.causes),
        }
        for decision in decisions
    ]
    to_run = [row for row in rows if row["status"] == "runs"]
    expected = _expected(compiled, decisions, options.jobs)
    if options.json:
        print_json(
            {
                "pipeline": compiled.graph.name,
                "nodes": rows,
                "runs": len(to_run),
                "estimate": expected,
                "warnings": warnings,
            }
        )
    else:
        _print(rows, to_run, expected)
        for warning in warnings:
            print(f"note: {warning}")
    return WORK_TO_DO if options.check and to_run else 0


def _expected(compiled: Compiled, decisions: list[Decision], jobs: int | None) -> dict[str, Any]:
    """How long the run will take, as far as earlier runs tell."""
    from edgepipe.planner.estimate import estimate, grown

    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    runs = {d.node.name: d for d in decisions if d.status == "runs"}
    longer = [name for name, decision in runs.items() if grown(decision.changes)]
    times = {n: d.previous.seconds for n, d in runs.items() if d.previous and n not in longer}
    found = estimate(compiled.graph, set(runs), times, cores, jobs or cores)
    return {
        "seconds": found.seconds,
        "work": found.work,
        "critical_path": list(found.path),
        "critical_path_seconds": found.path_seconds,
        "never_run": found.unknown - len(longer),
        "not_comparable": longer,
        "cores": cores,
        "jobs": jobs or cores,
    }


def _print(
    rows: list[dict[str, Any]], to_run: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    width = max(len(row["node"]) for row in rows)
    for row in rows:
        took = "" if row["seconds"] is None else seconds(row["seconds"])
        print(f"{row['status']:<7} {row['node']:<{width}}  {took:>10}  {row['reason']}".rstrip())
    remote = sum(row["status"] == "remote" for row in rows)
    cached = f"{len(rows) - len(to_run) - remote} cached" + f", {remote} to fetch" * bool(remote)
    print(f"{cached}, {len(to_run)} to run{_estimate(to_run, expected)}")


def _estimate(to_run: list[dict[str, Any]], expected: dict[str, Any]) -> str:
    """What the summary says of the time; nothing where nothing is known of any node."""
    unknown, longer = expected["never_run"], len(expected["not_comparable"])
    left_out = [f"{unknown} whose time is not known"] * bool(unknown)
    left_out += [f"{longer} with more epochs or steps than last time"] * bool(longer)
    if unknown + longer == len(to_run):
        return f"; no estimate: {', '.join(left_out)}" if longer else ""
    cores = expected["cores"]
    text = f"; at most about {seconds(expected['seconds'])} on {cores} core{'s' * (cores > 1)}"
    path = expected["critical_path"]
    if len(path) > 1:
        names = path if len(path) <= 4 else [*path[:2], "…", path[-1]]
        text += f", {seconds(expected['critical_path_seconds'])} of it {' → '.join(names)}"
    return text + f"; not counted: {', '.join(left_out)}" * bool(left_out)
