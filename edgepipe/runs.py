"""The project's runs: one folder each, with run.json, the logs and the report."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.replacing import replace
from edgepipe.results import RunResult


def new_id(pipeline: str) -> str:
    """A run's name: sorts by time, and two at once differ."""
    now = time.time_ns()
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now // 1_000_000_000))
    return f"{moment}{now // 1_000_000 % 1000:03d}-{pipeline}-{secrets.token_hex(2)}"


def save(folder: Path, result: RunResult) -> None:
    """Write run.json into a run's folder, by one rename."""
    folder.mkdir(parents=True, exist_ok=True)
    # With an indent, Python's encoder in C is not used: 10 times as slow.
    body = json.dumps(result.as_json()) + "\n"
    # The folder of a killed run is not looked into again, the one around it is.
    replace(os.fspath(folder / "run.json"), body.encode(), os.fspath(folder.parent))


def listed(runs: Path) -> list[str]:
    """Ids of the runs in a folder, the oldest first."""
    try:
        return sorted(path.parent.name for path in runs.glob("*/run.json"))
    except OSError:
        return []


def same(
    runs: Path, pipeline: str, keys: Mapping[str, str], like: Callable[[RunResult], bool]
) -> tuple[Path, RunResult] | None:
    """The pipeline's last run, if it ended with results of just these keys.

    Args:
        runs: the folder of the project's runs.
        pipeline: its name.
        keys: node → key, in the order of the graph.
        like: whether all else is the same that a run shows.
    """
    ours = [name for name in listed(runs) if name.split("-", 2)[2].rpartition("-")[0] == pipeline]
    if not ours:
        return None
    try:
        folder, result = load(runs, ours[-1])
    except ConfigError:
        return None
    made = [(node.name, node.key) for node in result.nodes]
    whole = made == list(keys.items()) and (folder / "report.html").is_file() and like(result)
    return (folder, result) if whole else None


def find(runs: Path, name: str = "last") -> Path:
    """The folder of a run by its id, an unambiguous part of it, or ``last``.

    Raises:
        ConfigError: there is no such run, or there are several.
    """
    known = listed(runs)
    if not known:
        raise ConfigError(f"no run is recorded in {runs}", "start one: edgepipe run PIPELINE")
    found = known[-1:] if name == "last" else [run for run in known if name in run]
    if name in known:
        found = [name]
    if len(found) != 1:
        what = "several runs match" if found else "there is no run"
        raise ConfigError(f"{what} '{name}'", did_you_mean(name, found or known[-10:], "runs"))
    return runs / found[0]


def read(folder: Path) -> RunResult:
    """The result in a run's folder. Raises ConfigError where it cannot be read."""
    try:
        value = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return RunResult.from_json(value)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{folder / 'run.json'} cannot be read: {error}") from error


def load(runs: Path, name: str = "last") -> tuple[Path, RunResult]:
    """A run's folder and result. Raises ConfigError as `find` and `read` do."""
    folder = find(runs, name)
    return folder, read(folder)


def remove(folder: Path) -> None:
    """Remove a run. What it made stays in the cache until gc, which then no longer keeps it.

    Raises:
        OSError: the folder cannot be written.
    """
    # First what makes it a run: a kill leaves no half of one.
    (folder / "run.json").unlink()
    shutil.rmtree(folder)


def unfinished(runs: Path) -> list[str]:
    """Ids of the folders of runs that have no result: they go on, or were killed."""
    try:
        return sorted(
            p.name for p in runs.iterdir() if p.is_dir() and not (p / "run.json").exists()
        )
    except OSError:
        return []
