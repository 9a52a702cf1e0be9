"""What was written while a node ran: its result may be of what was there before, or of neither."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepipe import explain
from edgepipe.fingerprint.unit import DATA
from edgepipe.planner import Decision, Planner
from edgepipe.watch import names_stamp


@dataclass(frozen=True)
class Edits:
    """What was written since a node was decided on."""

    changed: list[str]
    """What it depends on: dotted parameters; ``its code (FILE:DEFINITION, …)`` for code. Data that
    was written and then put back counts: the stage may have read it in between.
    """
    doubtful: list[str]
    """Files that its code may read and that were written, or came or went; and files of its code
    that were written and hold again what they held. That it read them is a guess on the safe side.
    """


def since(planner: Planner, decision: Decision) -> Edits:
    """What was written since a node was decided on. Raises ConfigError where a file is gone."""
    node, before = decision.node, decision.resolved
    edited = planner.fingerprints.edited()
    fingerprints = planner.new_fingerprints() if edited else planner.fingerprints
    now = planner.resolve(node, fingerprints) if edited or before.contents else before
    changed = [
        name
        for name, digest in before.contents.items()
        if now.contents.get(name) != digest or now.stamps.get(name) != before.stamps.get(name)
    ]
    if edited:
        code = planner.reach(node, now, fingerprints).code
        differ = explain.differences(json.loads(decision.code), code)
        names = [name for part in differ.values() for name in part]
        if names := [name for name in names if not name.endswith(f":{DATA}")]:
            changed.append(f"its code ({explain.few(names)})")
    return Edits(changed, _perhaps_read(planner, decision, edited))


def _perhaps_read(planner: Planner, decision: Decision, edited: list[str]) -> list[str]:
    reached = planner.reach(decision.node, decision.resolved, planner.fingerprints)
    found: set[Path] = set()
    if edited:
        put_back = planner.fingerprints.put_back(edited)
        found.update(reached.files.intersection(map(Path, put_back)))
    if reached.seeks or reached.data:
        found |= planner.fingerprints.rewritten(reached.data)
        if planner.fingerprints.modules.relisted():
            fresh = planner.new_fingerprints()
            now = planner.reach(decision.node, planner.resolve(decision.node, fresh), fresh)
            found |= reached.data ^ now.data
    root = planner.project.root
    return sorted(str(p.relative_to(root)) if p.is_relative_to(root) else str(p) for p in found)


def watched(planner: Planner, decision: Decision) -> dict[str, Any]:
    """What a running node is to watch, for `edgepipe.watch.Watch`."""
    resolved, fingerprints = decision.resolved, planner.fingerprints
    reached = planner.reach(decision.node, resolved, fingerprints)
    code, files = (reached.files, reached.data)
    if reached.rereads:
        code, files = frozenset(), code | files
    listed = fingerprints.modules.listed() if reached.seeks else ()
    stamps = resolved.stamps.items()
    return {
        "data": {name: [str(p), s] for p, (name, s) in zip(resolved.paths, stamps, strict=True)},
        "code": fingerprints.stamps(code),
        "files": fingerprints.stamps(files),
        "folders": {str(folder): names_stamp(names) for folder, names in listed},
    }
