"""Copy a node's output into a folder: NODE, NODE.PORT or NODE[INDEX].PORT of a run."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from edgepipe import runs
from edgepipe.cli._common import RUN_HELP, add_json, print_json
from edgepipe.cli._parser import add_cache
from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.gates import Ref
from edgepipe.results import NodeResult, RunResult
from edgepipe.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("output", metavar="NODE.PORT")
    parser.add_argument("folder", type=Path, metavar="DIR", help="made if it is not there")
    parser.add_argument("--run", default="last", metavar="RUN|PIPELINE", help=RUN_HELP)
    parser.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="whose run")
    add_cache(parser)
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Run the verb."""
    from edgepipe.project import find

    project = find(options.project)
    _, result = runs.load(project.runs, options.run)
    node, port = _output(options.output, result)
    cache = options.cache.absolute() if options.cache else project.cache
    files = _copy(Store(cache), node.outputs[port].digest, options.folder, options.force)
    if options.json:
        print_json({"run": result.id, "node": node.name, "port": port, "files": files})
    else:
        for name in files:
            print(options.folder / name)
    return 0


def _output(text: str, result: RunResult) -> tuple[NodeResult, str]:
    ref = Ref.parse(text)
    if ref is None or len(ref.rest) > 1:
        raise ConfigError(f"'{text}' is no output", "write NODE.PORT or NODE[INDEX].PORT")
    name = ref.node if ref.index is None else f"{ref.node}[{ref.index}]"
    nodes = {node.name: node for node in result.nodes}
    if name not in nodes:
        raise ConfigError(
            f"run {result.id} has no node '{name}'", did_you_mean(name, nodes, "nodes")
        )
    node = nodes[name]
    if not node.outputs:
        raise ConfigError(f"'{name}' has no output: it {node.status}", "run the pipeline first")
    ports = list(node.outputs)
    if ref.rest:
        port = ref.rest[0]
    else:
        artifacts = [p for p, output in node.outputs.items() if output.type != "Metrics"]
        port = artifacts[0] if len(artifacts) == 1 else ports[0] if len(ports) == 1 else ""
    if port not in node.outputs:
        what = f"'{name}' has no output '{port}'" if port else f"'{name}' has several outputs"
        raise ConfigError(what, did_you_mean(port, ports, "outputs"))
    return node, port


def _copy(store: Store, digest: str, folder: Path, force: bool) -> list[str]:
    names = [file.path for file in store.tree(digest).files]
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", "give a folder")
    taken = [name for name in names if (folder / name).exists()]
    if taken and not force:
        raise ConfigError(
            f"{folder / taken[0]} is there already", "give another folder, or --force"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Copied beside its place first, so that a full disk leaves no half of an artifact.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as staging:
        store.copy(digest, Path(staging))
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(staging) / name, target)
    return names
