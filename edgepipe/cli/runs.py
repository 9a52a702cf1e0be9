"""The project's runs: list them, show one, compare two, remove some."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgepipe import runs
from edgepipe.cli._common import RUN_HELP, add_json, print_json, tables
from edgepipe.cli._parser import whole
from edgepipe.errors import ConfigError
from edgepipe.results import RunResult
from edgepipe.units import seconds, show


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = verbs.add_parser("ls", help="all runs, the newest first")
    showing = verbs.add_parser("show", help="a run's results, as `edgepipe show`")
    showing.add_argument("run", nargs="?", default="last", metavar="RUN|PIPELINE", help=RUN_HELP)
    diff = verbs.add_parser("diff", help="what differs between two runs")
    diff.add_argument("a", help="an id or part of it, a pipeline's file, or 'last'")
    diff.add_argument("b", nargs="?", default="last", help="the same; the last")
    removing = verbs.add_parser("rm", help="remove runs; gc then frees what only they held")
    removing.add_argument("runs", nargs="*", metavar="RUN", help="ids or parts of them")
    removing.add_argument("--keep", type=whole, metavar="N", help="remove all but the last N")
    removing.add_argument("--dry-run", action="store_true", help="only say which")
    for verb in (listing, showing, diff, removing):
        verb.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="whose runs")
        add_json(verb)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.project import find

    folder = find(options.project).runs
    actions = {"ls": _list, "show": _show, "diff": _diff, "rm": _remove}
    return actions[options.action](options, folder)


def _list(options: argparse.Namespace, folder: Path) -> int:
    rows = [_row(folder / name) for name in reversed(runs.listed(folder))]
    unfinished = runs.unfinished(folder)
    if options.json:
        print_json({"runs": rows, "unfinished": unfinished})
        return 0
    if rows:
        _print(rows)
    else:
        print(f"no run is recorded in {folder}")
    if unfinished:
        print(f"without a result, since they go on or were killed: {', '.join(unfinished)}")
    return 0


def _print(rows: list[dict[str, Any]]) -> None:
    width = max(len(row["id"]) for row in rows)
    print(f"{'run':<{width}}  {'status':<11}  {'took':>10}  {'ran':>5}  {'cached':>6}  failed")
    for row in rows:
        took = seconds(row["seconds"]) if row["seconds"] is not None else ""
        counts = f"{row['ran']:>5}  {row['cached']:>6}  {row['failed'] or ''}"
        print(f"{row['id']:<{width}}  {row['status']:<11}  {took:>10}  {counts}".rstrip())


def _row(folder: Path) -> dict[str, Any]:
    try:
        result = runs.read(folder)
    except ConfigError:
        row: dict[str, Any] = {"id": folder.name, "status": "unreadable", "seconds": None}
        return {**row, "pipeline": "", "started": "", "ran": 0, "cached": 0, "failed": 0}
    count = [node.status for node in result.nodes].count
    return {
        "id": result.id,
        "status": result.status,
        "seconds": result.seconds,
        "pipeline": result.pipeline,
        "started": result.started,
        "ran": count("ran"),
        "cached": count("cached"),
        "failed": count("failed"),
    }


def _show(options: argparse.Namespace, folder: Path) -> int:
    place, result = runs.load(folder, options.run)
    if options.json:
        print_json({**result.as_json(), "folder": str(place)})
    else:
        print(tables(result))
    return 0


def _diff(options: argparse.Namespace, folder: Path) -> int:
    from edgepipe.runs.rundiff import compare

    a, b = (runs.load(folder, name)[1] for name in (options.a, options.b))
    found = compare(a, b)
    if options.json:
        print_json(found)
    else:
        print("\n".join(_diff_lines(found, a, b)))
    return 0


def _diff_lines(found: dict[str, Any], a: RunResult, b: RunResult) -> list[str]:
    lines = [f"a  {a.id}  {a.status}, {seconds(a.seconds)}"]
    lines += [f"b  {b.id}  {b.status}, {seconds(b.seconds)}"]
    rows: list[tuple[str, str, str, str]] = []
    for name, pair in found["run"].items():
        rows.append((name, _text(pair["a"]), _text(pair["b"]), ""))
    for node, parts in found["nodes"].items():
        rows.append(
            (node, *{"only a": ("", "–"), "only b": ("–", "")}.get(parts["status"], ("", "")), "")
        )
        for path, pair in parts["params"].items():
            rows.append((f"  {path}", _text(pair["a"]), _text(pair["b"]), ""))
        for name, pair in parts["metrics"].items():
            rows.append((f"  {name}", *_metric(pair)))
        for port, pair in parts["outputs"].items():
            rows.append((f"  {port}", *_artifact(pair)))
    if rows:
        lines += ["", *_table([("", "a", "b", "b − a"), *rows])]
    same = len(found["same"])
    return [*lines, "", f"{same} node{'' if same == 1 else 's'} the same"]


def _metric(pair: dict[str, Any]) -> tuple[str, str, str]:
    unit, change = pair["unit"], pair["difference"]
    a, b = ("–" if v is None else show(v, unit) for v in (pair["a"], pair["b"]))
    return a, b, "" if change is None else _signed(change, unit)


def _signed(change: float, unit: str) -> str:
    return f"{'−' if change < 0 else '+'}{show(abs(change), unit)}"


def _artifact(pair: dict[str, Any]) -> tuple[str, str, str]:
    a, b = (
        "–" if o is None else f"{o['digest'][:8]}, {show(o['size'], 'bytes')}"
        for o in (pair["a"], pair["b"])
    )
    both = pair["a"] is not None and pair["b"] is not None
    return a, b, _signed(pair["b"]["size"] - pair["a"]["size"], "bytes") if both else ""


def _text(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{row[0]:<{widths[0]}}  " + "  ".join(f"{row[i]:>{widths[i]}}" for i in (1, 2, 3)).rstrip()
        for row in rows
    ]


def _remove(options: argparse.Namespace, folder: Path) -> int:
    if bool(options.runs) is (options.keep is not None):
        raise ConfigError("say which runs to remove", "edgepipe runs rm RUN…, or --keep N")
    if options.keep is not None and options.keep < 0:
        raise ConfigError("--keep must be at least 0")
    if options.runs:
        killed = runs.unfinished(folder)
        found = [runs.find(folder, name, killed).name for name in options.runs]
        names = list(dict.fromkeys(found))
    else:
        names = runs.old(folder, options.keep)
    for name in names:
        runs.check_over(folder / name)
    for name in names if not options.dry_run else ():
        runs.remove(folder / name)
    if options.json:
        print_json({"removed": names, "dry_run": options.dry_run})
    else:
        for name in names:
            print(name)
        print(
            f"{len(names)} run{'' if len(names) == 1 else 's'} {'would be ' * options.dry_run}removed"
        )
    return 0
