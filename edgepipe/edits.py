"""What is edited in the course of a run: its results may be of what was there before, or of neither."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepipe import explain
from edgepipe.errors import StageError
from edgepipe.fingerprint import Fingerprints
from edgepipe.fingerprint.unit import DATA
from edgepipe.planner import Decision, Planner
from edgepipe.sources import Resolved
from edgepipe.watch import names_stamp


def afresh(planner: Planner, decision: Decision) -> Decision:
    """The decision on a node that is about to be started, with its files as they are now.

    Raises:
        StageError: what the node depends on is not what was decided on.
        ConfigError: a file is gone.
    """
    before = decision.resolved
    if planner.fingerprints.edited():
        planner.renew()
    if not before.contents and not planner.renewed:
        return decision
    now = planner.resolve(decision.node, planner.fingerprints)
    changed = [name for name, digest in before.contents.items() if now.contents[name] != digest]
    if planner.renewed:
        changed += _code(planner, decision, now, planner.fingerprints)
    if changed:
        message = f"{', '.join(changed)} changed since the run began"
        raise StageError(message, "run again: the result would not be of what was planned")
    return replace(decision, resolved=replace(before, stamps=now.stamps))


def watched(planner: Planner, decision: Decision) -> dict[str, Any]:
    """What a running node is to watch, for `edgepipe.watch.Watch`."""
    resolved, fingerprints = decision.resolved, planner.fingerprints
    reached = planner.reach(decision.node, resolved, fingerprints)
    listed = fingerprints.modules.listed.items() if reached.seeks else ()
    stamps = resolved.stamps.items()
    return {
        "data": {name: [str(p), s] for p, (name, s) in zip(resolved.paths, stamps, strict=True)},
        "code": fingerprints.states_of(reached.files),
        "rereads": reached.rereads,
        "files": fingerprints.stamps_of(reached.data),
        "folders": {str(folder): names_stamp(names) for folder, names in listed},
    }


@dataclass(frozen=True)
class Edits:
    """What was written since a node was started."""

    changed: list[str]
    """What it depends on: dotted parameters; ``its code (FILE:DEFINITION, …)`` for code. Data that
    was written and then put back counts: the stage may have read it in between.
    """
    doubtful: list[str]
    """Files that its code may have read, and that were written, or came or went. That it read them
    is a guess on the safe side.
    """


def since(
    planner: Planner, decision: Decision, watched: Mapping[str, Any], unsure: Iterable[str]
) -> Edits:
    """What was written since a node was started.

    Args:
        planner: decided on it.
        decision: what it was started with.
        watched: what it watched.
        unsure: the files and folders of these that were written, as the node knows of them.

    Raises:
        ConfigError: a file is gone.
    """
    before, paths = decision.resolved, set(map(Path, unsure))
    if not paths and not before.contents:
        return Edits([], [])
    fingerprints = planner.new_fingerprints() if paths else planner.fingerprints
    now = planner.resolve(decision.node, fingerprints)
    changed = [
        name
        for name, digest in before.contents.items()
        if now.contents[name] != digest or now.stamps[name] != before.stamps[name]
    ]
    if not paths:
        return Edits(changed, [])
    changed += _code(planner, decision, now, fingerprints)
    files = set(map(Path, watched["files"]))
    doubtful = paths & {*map(Path, watched["code"]), *files}
    if paths - doubtful:
        doubtful |= files ^ planner.reach(decision.node, now, fingerprints).data
    root = planner.project.root
    told = (p.relative_to(root) if p.is_relative_to(root) else p for p in doubtful)
    return Edits(changed, sorted(map(str, told)))


def _code(
    planner: Planner, decision: Decision, now: Resolved, fingerprints: Fingerprints
) -> list[str]:
    """What changed of a node's code, less the files that this may read."""
    code = planner.reach(decision.node, now, fingerprints).code
    differ = explain.differences(json.loads(decision.code), code)
    names = [name for part in differ.values() for name in part if not name.endswith(f":{DATA}")]
    return [f"its code ({explain.few(names)})"] if names else []
