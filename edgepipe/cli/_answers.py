"""What a run leaves for the same command, given again: its answer, and the results that it shows."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from edgepipe import noop
from edgepipe.cli._common import Compiled
from edgepipe.errors import StoreError
from edgepipe.results import RunResult

if TYPE_CHECKING:
    from edgepipe.store import Record


def names(compiled: Compiled) -> dict[str, list[str]]:
    """The names in all folders in which something was sought.

    Taken before anything runs: what comes into a folder meanwhile was not seen.
    """
    from edgepipe import witness

    found = {str(path.absolute()) for path in witness.folders(compiled.planner)}
    return {path: noop.names_in(path) for path in sorted(found)}


def remember(
    question: str,
    answer: tuple[int, str],
    compiled: Compiled,
    result: RunResult,
    records: Collection[Record],
    folder: Path,
    names: dict[str, list[str]],
    since_ns: int,
) -> None:
    """Keep what the same command would say: it would find nothing to do.

    Args:
        question: see `edgepipe.noop`.
        answer: its exit code and what it would print.
        compiled: the pipeline.
        result: what came of the run.
        records: of all nodes that have a result.
        folder: of the run.
        names: see `names`.
        since_ns: when the command began.
    """
    from edgepipe import witness

    planner, runs = compiled.planner, str(compiled.project.runs.absolute())
    if len(records) < len(result.nodes) or planner.store.root != compiled.project.cache:
        return
    if witness.reads_elsewhere(planner):
        return
    try:
        objects = set(witness.objects(planner, records, folder))
    except StoreError:
        # Somebody else removed it since.
        return
    noop.remember(
        question,
        *answer,
        files={str(path.absolute()) for path in witness.files(planner)},
        folders={**names, runs: noop.names_in(runs)},
        objects={hold(compiled, result), *objects},
        staging=planner.store.staging_root,
        since_ns=since_ns,
    )


def hold(compiled: Compiled, result: RunResult) -> str:
    """Let gc keep what a run used, since it is the answer to the next one too; its root's path."""
    from edgepipe.store.roots import hold_again

    keys = [node.key for node in result.nodes]
    keys += [output.digest for node in result.nodes for output in node.outputs.values()]
    root, name = compiled.project.root, compiled.graph.name
    return hold_again(compiled.planner.store, result.id, root, name, keys)
