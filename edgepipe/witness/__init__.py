"""All that the answer "everything is cached" rests on, for `edgepipe.noop`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from edgepipe.kinds import packages
from edgepipe.planner import Planner
from edgepipe.project import expanded, marks
from edgepipe.store import Record
from edgepipe.witness import compiletime


def files(planner: Planner) -> Iterator[Path]:
    """The user's files and folders that were read, and ours; some may not be there."""
    graph = planner.graph
    yield from graph.files
    yield from marks(graph.path, planner.project.root)
    yield from map(Path, planner.files.consulted)
    for name in planner.distributions:
        yield from _metadata(name)
    if (key_file := planner.project.remote.get("signing_key_file")) is not None:
        yield planner.project.root / expanded(key_file)
    for node in graph.nodes.values():
        if node.environment is not None:
            yield from (node.environment.path, node.environment.lock_path)
            yield node.environment.folder(planner.project.envs)
    for module in list(sys.modules.values()):
        origin = getattr(module, "__file__", None)
        if origin and module.__name__.partition(".")[0] == "edgepipe":
            yield Path(origin)


def _metadata(name: str) -> Iterator[Path]:
    """The file that holds a distribution's version."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return
    path = getattr(found, "_path", None)
    if path is not None:
        # The second is that of an egg, the third an egg that is one file.
        yield from (Path(path) / "METADATA", Path(path) / "PKG-INFO", Path(path))


def folders(planner: Planner) -> Iterator[Path]:
    """Folders in which a new file, module or distribution could come before a known one, without
    that of the runs.
    """
    project = planner.project
    yield from (Path(entry) for entry in sys.path if entry)
    yield from (project.root, project.root / "configs" / "envs")
    for folder in (*project.plugins, *packages()):
        yield folder
        yield from (inner for inner in folder.glob("*/") if inner.name != "__pycache__")
    yield from {Path(path).parent for path in planner.fingerprints.states}
    yield from planner.fingerprints.modules.searched


def reads_elsewhere(planner: Planner) -> bool:
    """Whether the user's code may read, while a pipeline is compiled, what is none of the `files`."""
    stages = [node.kind.path for node in planner.graph.nodes.values() if node.kind.plugin]
    ours = (Path(__file__).parents[1], *packages())
    files = [Path(path) for path in planner.fingerprints.states if path.endswith(".py")]
    return bool(stages) and compiletime.reads_elsewhere(
        stages, (path for path in files if not any(map(path.is_relative_to, ours)))
    )


def objects(planner: Planner, records: Iterable[Record], run: Path) -> Iterator[str]:
    """Files of the cache, of the project's state, and of the run whose results are shown again."""
    store = planner.store
    paths = (run / "run.json", run / "report.html", planner.files.path, planner.last.path)
    yield from map(str, paths)
    # A thousand nodes have thousands of files: plain texts, since a Path costs more than its stat.
    for record in records:
        yield store.records.path(record.key)
        for output in record.outputs.values():
            yield store.objects.path(output.tree)
            yield from (store.objects.path(file.digest) for file in store.tree(output.tree).files)
