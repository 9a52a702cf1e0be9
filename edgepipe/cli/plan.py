"""What a run would do: per node whether it is cached, or why it runs. Nothing is run."""

from __future__ import annotations

import argparse
from typing import Any

from edgepipe.cli._common import add_json, add_pipeline, compile_pipeline, print_json
from edgepipe.units import seconds

WORK_TO_DO = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_pipeline(parser)
    parser.add_argument("--until", metavar="NODE", help="only this node and what it needs")
    parser.add_argument(
        "--check", action="store_true", help=f"exit {WORK_TO_DO} if there is work to do"
    )
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    compiled = compile_pipeline(options)
    decisions = compiled.planner.plan()
    compiled.planner.files.save()
    rows: list[dict[str, Any]] = [
        {
            "node": decision.node.name,
            "kind": decision.node.kind.name,
            "status": "cached" if decision.record else "runs",
            "reason": decision.reason,
            "seconds": decision.previous.seconds if decision.previous else None,
        }
        for decision in decisions
    ]
    to_run = [row for row in rows if row["status"] == "runs"]
    if options.json:
        print_json({"pipeline": compiled.graph.name, "nodes": rows, "runs": len(to_run)})
    else:
        _print(rows, to_run)
    return WORK_TO_DO if options.check and to_run else 0


def _print(rows: list[dict[str, Any]], to_run: list[dict[str, Any]]) -> None:
    width = max(len(row["node"]) for row in rows)
    for row in rows:
        took = "" if row["seconds"] is None else seconds(row["seconds"])
        print(f"{row['status']:<7} {row['node']:<{width}}  {took:>10}  {row['reason']}".rstrip())
    known = [row["seconds"] for row in to_run if row["seconds"] is not None]
    summary = f"{len(rows) - len(to_run)} cached, {len(to_run)} to run"
    if known:
        summary += f"; {len(known)} of them took {seconds(sum(known))} of work last time"
    print(summary)
