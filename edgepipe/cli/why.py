"""Why one node runs, or why it is cached: what its key is made of, and what of that changed."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgepipe.cli._asking import asking
from edgepipe.cli._common import (
    add_json,
    add_pipeline,
    compile_pipeline,
    open_remote,
    print_json,
)
from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.plaindata import one_line
from edgepipe.units import seconds

if TYPE_CHECKING:
    from edgepipe.planner import Decision, Planner

_SHOWN = 12
"""Lines of one list; --json has all of them."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_pipeline(parser)
    parser.add_argument("node", help="NODE, or NODE[INDEX] of a matrix")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    compiled = compile_pipeline(options)
    planner = compiled.planner
    remote = open_remote(compiled.project)
    planned = planner.plan(ask=asking(remote))
    decisions = {decision.node.name: decision for decision in planned}
    planner.files.save()
    wanted = options.node
    names = [name for name in decisions if wanted in {name, name.partition("[")[0]}]
    if not names:
        hint = did_you_mean(wanted, decisions, "nodes")
        raise ConfigError(f"there is no node '{wanted}'", hint)
    answers = [answer(name, decisions, planner) for name in names]
    warnings = list(dict.fromkeys(damage.said for damage in planner.store.damages))
    warnings += remote.warnings if remote else []
    if options.json:
        print_json({"pipeline": compiled.graph.name, "nodes": answers, "warnings": warnings})
    else:
        print("\n\n".join("\n".join(_lines(found)) for found in answers))
        for warning in warnings:
            print(f"note: {warning}")
    return 0


def answer(name: str, decisions: Mapping[str, Decision], planner: Planner) -> dict[str, Any]:
    """All that is known of a node's decision, as plain data."""
    decision = decisions[name]
    previous = decision.previous
    return {
        "node": name,
        "kind": decision.node.kind.name,
        "status": decision.status,
        "reason": decision.reason,
        "changes": [change.as_json() for change in decision.changes],
        "because": [
            {
                "node": cause,
                "reason": decisions[cause].reason,
                "changes": [change.as_json() for change in decisions[cause].changes],
            }
            for cause in roots(name, decisions)
        ],
        "waits_for": list(decision.causes),
        "key": decision.key.digest if decision.key else None,
        "made_of": planner.made_of(decision),
        "code": json.loads(decision.code),
        "files": {name: dict(files) for name, files in decision.resolved.files.items()},
        "last": previous
        and {
            "key": previous.key,
            "created": previous.created,
            "seconds": previous.seconds,
            "peak_memory": previous.peak_memory,
        },
    }


def roots(name: str, decisions: Mapping[str, Decision]) -> list[str]:
    """The nodes before a node that run for a reason of their own."""
    found: dict[str, None] = {}
    waiting, seen = list(decisions[name].causes), set(decisions[name].causes)
    while waiting:
        cause = waiting.pop(0)
        decision = decisions[cause]
        if decision.changes or not decision.causes:
            found[cause] = None
        new = [c for c in decision.causes if c not in seen]
        seen |= set(new)
        waiting += new
    return list(found)


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    said = {"cached": "is cached", "remote": "is in the remote", "runs": "runs"}[found["status"]]
    yield f"{found['node']} ({found['kind']}) {said}"
    if found["status"] == "runs":
        yield from _why(found)
    yield ""
    yield "  its key is made of"
    yield from _parts(found)
    if found["last"]:
        last = found["last"]
        when = datetime.fromtimestamp(last["created"], UTC).astimezone()
        yield ""
        yield f"  it last ran on {when:%Y-%m-%d at %H:%M} and took {seconds(last['seconds'])}"


def _why(found: Mapping[str, Any]) -> Iterator[str]:
    for change in found["changes"]:
        yield f"  {change['text']}"
        for word in ("changed", "new", "gone"):
            names = [one_line(name) for name in change.get(word, ())]
            yield from _list([f"{word}: {name}" for name in names], "    ")
    if found["waits_for"]:
        names = found["waits_for"]
        one = len(names) == 1
        yield f"  its input{'' if one else 's'} {', '.join(names)} run{'s' if one else ''}"
        for cause in found["because"]:
            for text in [c["text"] for c in cause["changes"]] or [
                f"{cause['node']}: {cause['reason']}"
            ]:
                yield f"    {text}"
    elif not found["changes"]:
        yield f"  {found['reason']}"


def _list(lines: list[str], indent: str) -> Iterator[str]:
    if len(lines) < 2:
        return
    for line in lines[:_SHOWN]:
        yield f"{indent}{line}"
    if len(lines) > _SHOWN:
        yield f"{indent}and {len(lines) - _SHOWN:,} more: --json lists all"


def _parts(found: Mapping[str, Any]) -> Iterator[str]:
    from edgepipe.explain import flat, shown

    made_of = found["made_of"]
    params = [f"{name}: {shown(value)}" for name, value in flat(made_of["params"]).items() if name]
    yield from _part("parameters", params, 40)
    yield from _part("files", [f"{name}: {len(files):,}" for name, files in found["files"].items()])
    counts = Counter(name.rpartition(":")[0] for name in found["code"])
    code = [f"{file}: {number}" for file, number in counts.items()]
    yield from _part("code, by definitions", code)
    inputs = [
        f"{port}: {digest[:12] if digest else 'not known yet'}"
        for port, digest in made_of["inputs"].items()
    ]
    yield from _part("inputs", inputs)
    yield from _part("versions", [f"{n} {v}" for n, v in made_of["requires"].items()])
    for name in ("python", "seed", "environment"):
        if name in made_of:
            yield f"    {name}: {made_of[name]}"
    yield from _part("machine", [f"{n}: {v}" for n, v in made_of.get("machine", {}).items()])


def _part(title: str, lines: list[str], most: int = _SHOWN) -> Iterator[str]:
    if lines:
        yield f"    {title}"
        shown = lines[:most]
        yield from (f"      {line}" for line in shown)
        if len(lines) > len(shown):
            yield f"      and {len(lines) - len(shown):,} more: --json lists all"
