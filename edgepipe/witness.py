"""All that the answer "everything is cached" rests on, for `edgepipe.noop`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from edgepipe.fingerprint.names import last
from edgepipe.kinds import packages
from edgepipe.planner import Planner
from edgepipe.project import marks
from edgepipe.store import Record


def files(planner: Planner) -> Iterator[Path]:
    """The user's files and folders that were read, and ours; some may not be there."""
    graph = planner.graph
    yield from graph.files
    yield from marks(graph.path, planner.project.root)
    yield from map(Path, planner.files.consulted)
    for name in planner.distributions:
        yield from _metadata(name)
    if (key_file := planner.project.remote.get("signing_key_file")) is not None:
        yield planner.project.root / Path(key_file).expanduser()
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


def reads_variables(planner: Planner) -> bool:
    """Whether a plug-in may read environment variables while it is imported, as for a default."""
    readers: set[str] = set()
    called: set[str] = set()
    for path in map(Path, planner.fingerprints.states):
        if path.suffix == ".py" and any(map(path.is_relative_to, planner.project.plugins)):
            try:
                tree = ast.parse(path.read_bytes())
            except SyntaxError:
                return True
            importing = list(_while_imported(tree))
            if _names_variables(importing):
                return True
            called |= {last(n.func) for n in importing if isinstance(n, ast.Call)}
            functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
            readers |= {f.name for f in functions if _names_variables(ast.walk(f))}
    return bool(readers & called)


def _while_imported(node: ast.AST) -> Iterator[ast.AST]:
    """All of a file but what stands in functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            parts = [*getattr(child, "decorator_list", ()), child.args]
            for part in parts:
                yield part
                yield from _while_imported(part)
        else:
            yield child
            yield from _while_imported(child)


def _names_variables(nodes: Iterable[ast.AST]) -> bool:
    return any(
        isinstance(n, ast.Name | ast.Attribute) and last(n) in {"environ", "environb", "getenv"}
        for n in nodes
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
