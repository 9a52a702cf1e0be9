"""A place to change things in: a copy of the stages, a project that uses all of them, records.

Nothing is run: what every node would have made is published as a few bytes of its own, so that
a plan finds each node cached. Then something is changed, and a plan says what would run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from lab_project import FILES, PIPELINE

import edgepipe_stages
from edgepipe import key, kinds
from edgepipe.cli._common import compile_pipeline
from edgepipe.graph import Graph
from edgepipe.key import HERE, World
from edgepipe.planner import Decision, Planner, manifests
from edgepipe.stage import Metrics
from edgepipe.store import Output, Record

SOURCE = Path(edgepipe_stages.__file__).parent


AGO = time.time() - 3600


@dataclass
class Lab:
    """The copy, the project and what is done to them."""

    root: Path
    kept: dict[Path, bytes | None] = field(default_factory=dict)
    world: World = HERE
    project: Path = field(init=False)
    stages: Path = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.root / "project"
        self.stages = self.root / "site" / "edgepipe_stages"
        shutil.copytree(SOURCE, self.stages, ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in {**FILES, "lab.yaml": PIPELINE}.items():
            (self.project / name).parent.mkdir(parents=True, exist_ok=True)
            (self.project / name).write_text(text)

    def path(self, name: str) -> Path:
        """A file: of the copy of the stages if it begins with ``@``, else of the project."""
        return self.stages / name[1:] if name.startswith("@") else self.project / name

    def write(self, name: str, body: bytes | str | None) -> None:
        """Write or remove a file; `restored` puts it back."""
        path = self.path(name)
        self.kept.setdefault(path, path.read_bytes() if path.exists() else None)
        if body is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body.encode() if isinstance(body, str) else body)

    def text(self, name: str) -> str:
        return self.path(name).read_text()

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file's text; that it changes is made sure of."""
        before = self.text(name)
        after = change(before)
        assert after != before, f"{name}: nothing was changed"
        self.write(name, after)

    @contextmanager
    def restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            for path, body in self.kept.items():
                if body is None:
                    path.unlink(missing_ok=True)
                    if not any(path.parent.iterdir()):
                        path.parent.rmdir()
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(body)
            forget(self.kept)
            self.kept.clear()
            self.world = HERE

    def planner(self, pipeline: str = "lab.yaml", project: Path | None = None) -> Planner:
        """Compile as every verb does, as if in a new process."""
        forget(self.kept)
        path = (project or self.project) / pipeline
        options = argparse.Namespace(pipeline=path, set=[], cache=self.root / "cache", until=None)
        compiled = compile_pipeline(options)
        # What was put back after another test is not read by each that follows.
        compiled.planner.files.save()
        if self.world is HERE:
            return cast("Planner", compiled.planner)
        return Planner(compiled.graph, compiled.kinds.roots, compiled.project, self.world)

    def publish(self) -> None:
        """Pretend that all nodes ran."""
        planner = self.planner()
        records: dict[str, Record] = {}
        for name, node in planner.graph.nodes.items():
            inputs = {
                port: records[source.node].outputs[source.port].tree
                for port, source in node.inputs.items()
            }
            decision = planner.decide(node, inputs)
            records[name] = publish(planner, decision)
        planner.last.save()
        # Files that were written just now are not remembered.
        time.sleep(0.1)
        self.planner().files.save()


def publish(planner: Planner, decision: Decision) -> Record:
    """Put a record for a node into the store, with outputs that are its own."""
    node, found = decision.node, decision.key
    assert found is not None
    outputs = {}
    for port, type_ in node.stage.outputs.items():
        folder = planner.store.staging()
        name = (issubclass(type_, Metrics) and Metrics.payload) or "content"
        (folder / name).write_text(json.dumps({"made": f"{found.digest} {port}"}))
        outputs[port] = Output(type_.__name__, planner.store.put_tree(folder).digest, 1)
    made = manifests.publish(planner.store, decision.manifests)
    record = Record(
        found.digest, node.kind.name, found.made_of, outputs, {}, 2.0, 2.0, 1, AGO, manifests=made
    )
    planner.store.put_record(record)
    planner.last.set(node.name, found.digest)
    return record


def forget(edited: Iterable[Path] | None = None) -> None:
    """Let this process know as little of stages and packages as a new one.

    What was not edited may stay imported: to import all stages takes longer than to plan.
    """
    kinds._packages.cache_clear()
    key.installed.cache_clear()
    key._distributions.cache_clear()
    loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    if edited is not None and loaded.isdisjoint(map(str, edited)):
        return
    own = ("edgepipe_stages", "edgepipe_plugin", "edgepipe_user_", "_tables", "_steps", "helpers")
    for name in [n for n in sys.modules if n.startswith(own)]:
        del sys.modules[name]
    importlib.invalidate_caches()


def downstream(graph: Graph, direct: set[str]) -> set[str]:
    """Nodes, and all that reads what they make."""
    found = set(direct)
    for name, node in graph.nodes.items():
        if any(source.node in found for source in node.inputs.values()):
            found.add(name)
    return found
