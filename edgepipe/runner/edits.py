"""What is edited in the course of a run: its results may be of what was there before, or of neither."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepipe import explain
from edgepipe.errors import ConfigError, StageError
from edgepipe.filestate import tree_digest
from edgepipe.fingerprint import Reached
from edgepipe.fingerprint.remembered import RememberingFingerprints
from edgepipe.fingerprint.unit import DATA
from edgepipe.key import other_versions
from edgepipe.planner import Decision, Planner
from edgepipe.sources import Resolved
from edgepipe.watch import TreeStamp, is_doubtful, is_edited, names_stamp


def afresh(planner: Planner, decision: Decision) -> Decision:
    """The decision on a node that is about to be started, with its files as they are now.

    Raises:
        StageError: what the node depends on is not what was decided on.
        ConfigError: a file is gone.
    """
    before = decision.resolved
    planner.renew()
    changed, stamps = _data(planner, before)
    if planner.edits:
        changed += _code(planner, decision, planner.fingerprints)
    if decision.key is not None and decision.node.environment is None and planner.reinstalled:
        changed += other_versions(decision.key.made_of["requires"])
    if changed:
        message = f"{', '.join(changed)} changed since the run began"
        raise StageError(message, "run again: the result would not be of what was planned")
    reached = planner.reach(decision.node, before, planner.fingerprints)
    planner.fingerprints.touched(reached.data)
    return replace(decision, resolved=replace(before, stamps=stamps)) if stamps else decision


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
    """Files that it may have read, and that may have been written, or came or went. That it read
    them is a guess on the safe side.
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
    paths = set(map(Path, unsure))
    code, files = set(map(Path, watched["code"])), set(map(Path, watched["files"]))
    resolved = decision.resolved
    changed, stamps = _data(planner, resolved)
    put_back = set()
    for (name, stamp), path in zip(stamps.items(), resolved.paths, strict=True):
        before = resolved.stamps[name]
        if name not in changed and is_edited(before, stamp):
            changed.append(name)
        elif is_doubtful(before, stamp):
            put_back.add(path)
    # What its process had imported before it was edited is none of the node's.
    if paths & code:
        changed += _code(planner, decision, planner.fingerprints.latest(), apart=code - paths)
    elif planner.fingerprints.modules.relisted():
        with contextlib.suppress(ConfigError):
            changed += _code(planner, decision, planner.fingerprints.latest(), apart=code)
    doubtful = paths & (code | files)
    if paths - doubtful:
        doubtful |= files ^ _reached(planner, decision, planner.fingerprints.latest()).data
    root = planner.project.root
    told = (p.relative_to(root) if p.is_relative_to(root) else p for p in doubtful | put_back)
    return Edits(changed, sorted(map(str, told)))


def _data(planner: Planner, before: Resolved) -> tuple[list[str], dict[str, TreeStamp]]:
    """The parameters whose files hold something else; the stamps of all."""
    changed, stamps = [], {}
    for (name, digest), path in zip(before.contents.items(), before.paths, strict=True):
        now = planner.files.look(path)
        stamps[name] = now.stamp
        if tree_digest(now.files) != digest:
            changed.append(name)
    return changed, stamps


def _code(
    planner: Planner,
    decision: Decision,
    fingerprints: RememberingFingerprints,
    apart: Collection[Path] = (),
) -> list[str]:
    """What changed of a node's code, less the files that this may read, and less some others."""
    code = _reached(planner, decision, fingerprints).code
    differ = explain.differences(json.loads(decision.code), code)
    names = [
        name
        for part in differ.values()
        for name in part
        if not name.endswith(f":{DATA}") and not _is_in(name, apart)
    ]
    return [f"its code ({explain.few(names)})"] if names else []


def _is_in(name: str, files: Collection[Path]) -> bool:
    """Whether a definition, as FILE:DEFINITION, may be in one of some files."""
    file = name.partition(":")[0].partition(" (")[0]
    return any(str(path).endswith(f"/{file}") for path in files)


def _reached(
    planner: Planner, decision: Decision, fingerprints: RememberingFingerprints
) -> Reached:
    """All code of a node, as some fingerprints know it."""
    resolved = decision.resolved
    if resolved.reached.code:
        resolved = planner.resolve(decision.node, fingerprints)
    return planner.reach(decision.node, resolved, fingerprints)
