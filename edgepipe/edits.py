"""What was written while a node ran: its result may be of what was there before, or of neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgepipe import explain
from edgepipe.fingerprint.remembered import RememberingFingerprints
from edgepipe.fingerprint.unit import DATA
from edgepipe.planner import Decision, Planner
from edgepipe.sources import Resolved
from edgepipe.watch import names_stamp


def changed(planner: Planner, decision: Decision) -> list[str]:
    """What a node depends on and was written since it was decided on.

    A file that was written and then put back counts: the stage may have read it in between.

    Returns:
        Dotted parameters; ``its code (FILE:DEFINITION, …)`` for code.
    """
    node, before = decision.node, decision.resolved
    edited = bool(planner.fingerprints.edited())
    fingerprints = planner.new_fingerprints() if edited else planner.fingerprints
    now = planner.resolve(node, fingerprints)
    found = [
        name
        for name, digest in before.contents.items()
        if now.contents.get(name) != digest or now.stamps.get(name) != before.stamps.get(name)
    ]
    if edited:
        code = planner.reach(node, now, fingerprints).code
        differ = explain.differences(json.loads(decision.code), code)
        names = [name for part in differ.values() for name in part]
        if names := [name for name in names if not name.endswith(f":{DATA}")]:
            found.append(f"its code ({explain.few(names)})")
    return found


def perhaps_read(planner: Planner, decision: Decision) -> list[str]:
    """Files that a node's code may read and that were written, or came or went, since it was
    decided on; and files of its code that were written and hold again what they held. That it
    read them in between is a guess on the safe side.
    """
    found = _put_back(planner, decision)
    before = _data(planner, decision, decision.resolved, planner.fingerprints)
    if before is not None:
        found |= planner.fingerprints.rewritten(before)
        if planner.fingerprints.modules.relisted():
            fresh = planner.new_fingerprints()
            now = _data(planner, decision, planner.resolve(decision.node, fresh), fresh)
            found |= before ^ (now or frozenset())
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


def _put_back(planner: Planner, decision: Decision) -> set[Path]:
    paths = planner.fingerprints.put_back()
    if not paths:
        return set()
    reached = planner.reach(decision.node, decision.resolved, planner.fingerprints)
    return set(reached.files.intersection(map(Path, paths)))


def _data(
    planner: Planner, decision: Decision, resolved: Resolved, fingerprints: RememberingFingerprints
) -> frozenset[Path] | None:
    """The files that a node's code may read; None where it looks for none."""
    reached = planner.reach(decision.node, resolved, fingerprints)
    return reached.data if reached.seeks or reached.data else None
