"""The project's runs: one folder each, with run.json, the logs and the report."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.holding import held
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


@contextlib.contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Hold a run's folder while the run goes on; without anything in it, it goes in the end."""
    with contextlib.ExitStack() as stack:
        # Where it cannot be made, that is said of what is written into it.
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True)
            stack.callback(_remove_empty, folder)
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        os.removedirs(folder)


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
    ours = [name for name in listed(runs) if _pipeline_of(name) == pipeline]
    if not ours:
        return None
    try:
        folder, result = load(runs, ours[-1])
    except ConfigError:
        return None
    made = [(node.name, node.key) for node in result.nodes]
    whole = made == list(keys.items()) and (folder / "report.html").is_file() and like(result)
    return (folder, result) if whole else None


def find(runs: Path, name: str = "last", also: Sequence[str] = ()) -> Path:
    """The folder of a run by its id, an unambiguous part of it, ``last``, or a pipeline's file.

    Args:
        runs: the folder of the project's runs.
        name: of the run.
        also: runs without a result that may be meant.

    Raises:
        ConfigError: there is no such run, or there are several.
    """
    known = sorted([*listed(runs), *also])
    if not known:
        raise ConfigError(f"no run is recorded in {runs}", "start one: edgepipe run PIPELINE")
    if name.endswith((".yaml", ".yml")):
        return _last_of(runs, Path(name), known)
    return runs / (known[-1] if name == "last" else _one(name, known))


def _one(name: str, known: list[str]) -> str:
    """The one id that a name is, or is a part of."""
    found = [name] if name in known else [run for run in known if name in run]
    if len(found) != 1:
        what = "several runs match" if found else "there is no run"
        raise ConfigError(f"{what} '{name}'", did_you_mean(name, found or known[-10:], "runs"))
    return found[0]


def _last_of(runs: Path, file: Path, known: list[str]) -> Path:
    """The last run of a pipeline: of its name, from this file."""
    from edgepipe.config import load as load_config

    pipeline = load_config(file).root.at(("name",)).value
    project, place = runs.parent.parent, file.resolve()
    for run in reversed(known):
        if _pipeline_of(run) == pipeline:
            with contextlib.suppress(ConfigError):
                result = read(runs / run)
                if (project / (result.source or result.file)).resolve() == place:
                    return runs / run
    message = f"no run of '{pipeline}' from {file} is recorded in {runs}"
    raise ConfigError(message, f"start one: edgepipe run {file}")


def _pipeline_of(run: str) -> str:
    """The pipeline's name in a run's id; empty where it is no id."""
    return run.partition("-")[2].partition("-")[2].rpartition("-")[0]


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


def check_over(folder: Path) -> None:
    """Raise ConfigError where a run goes on."""
    if held(str(folder)):
        raise ConfigError(f"the run {folder.name} goes on", "remove it when it has ended")


def remove(folder: Path) -> None:
    """Remove a run. What it made stays in the cache until gc, which then no longer keeps it.

    Raises:
        ConfigError: the run goes on.
        OSError: the folder cannot be written.
    """
    check_over(folder)
    # First what makes it a run: a kill leaves no half of one.
    (folder / "run.json").unlink(missing_ok=True)
    shutil.rmtree(folder)


def old(runs: Path, keep: int) -> list[str]:
    """Ids of all runs but the last ``keep``, and of what was killed before those; oldest first."""
    known = listed(runs)
    if keep and len(known) <= keep:
        return []
    killed = (name for name in unfinished(runs) if not held(str(runs / name)))
    return sorted(n for n in (*known, *killed) if not keep or n < known[-keep])


def unfinished(runs: Path) -> list[str]:
    """Ids of the folders of runs that have no result: they go on, or were killed."""
    try:
        return sorted(
            p.name for p in runs.iterdir() if p.is_dir() and not (p / "run.json").exists()
        )
    except OSError:
        return []
