"""Decides for a node whether its result is in the store, and if not, why not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepipe.errors import ConfigError, Problem
from edgepipe.filestate import FileState
from edgepipe.fingerprint import Fingerprints, Unit, read_unit
from edgepipe.graph import Graph, GraphNode
from edgepipe.key import Key, changes, code_digest, key_of, requirements
from edgepipe.project import Project
from edgepipe.sources import Resolved, resolve
from edgepipe.store import Record, Store


@dataclass(frozen=True)
class Decision:
    """What is known of a node before it runs."""

    node: GraphNode
    key: Key | None
    """None where an input's content is not known yet."""
    record: Record | None
    """Its result, if it is cached."""
    reason: str
    """Why it runs; empty if it is cached."""
    resolved: Resolved
    previous: Record | None = None
    """The record of the node's last run, whatever it was made of."""


class Planner:
    """Decisions for the nodes of one graph."""

    def __init__(self, graph: Graph, kinds_roots: tuple[Path, ...], project: Project) -> None:
        self.graph = graph
        self.project = project
        self.store = Store(project.cache)
        self.files = FileState(project.state / "files.json")
        self.fingerprints = _RememberingFingerprints((*kinds_roots, project.root), self.files)
        self.last = LastKeys(project.state / "last.json", _name(graph.path, project.root))
        self._resolved: dict[str, Resolved] = {}
        self._code: dict[tuple[str, ...], str] = {}
        self.code_bodies: dict[str, bytes] = {}

    def check(self) -> None:
        """Find everything that nodes need: files, code, distributions.

        Raises:
            ConfigError: with all that is not there.
        """
        problems: list[Problem] = []
        for node in self.graph.nodes.values():
            try:
                self._code_of(node, self.resolved(node))
                requirements(node)
            except ConfigError as error:
                problems += [p for p in error.problems if p not in problems]
        if problems:
            raise ConfigError(problems)

    def need_environments(self, decisions: Iterable[Decision]) -> None:
        """Find the environments of nodes that run; what is cached needs none.

        Raises:
            ConfigError: with all that are not built.
        """
        problems: dict[Problem, None] = {}
        for decision in decisions:
            node, environment = decision.node, decision.node.environment
            if environment is None or decision.record is not None:
                continue
            if not environment.built(self.project.envs):
                message = (
                    f"{node.kind.name} runs in the environment '{environment.name}', which is not"
                    " built"
                )
                hint = f"build it: edgepipe env sync {environment.name}"
                problems[Problem(message, hint, node.place)] = None
        if problems:
            raise ConfigError(problems)

    def interpreter(self, node: GraphNode) -> str:
        """The interpreter that a node's worker is started with; empty: the one that runs."""
        if node.environment is None:
            return ""
        return str(node.environment.interpreter(self.project.envs))

    def changed(self, decision: Decision) -> list[str]:
        """Parameters whose files are others now than when the node was decided on."""
        node, before = decision.node, decision.resolved.contents
        now = self._resolve(node).contents
        return [name for name in before if now.get(name) != before[name]]

    def resolved(self, node: GraphNode) -> Resolved:
        """A node's parameters with the user's files and code found."""
        if node.name not in self._resolved:
            self._resolved[node.name] = self._resolve(node)
        return self._resolved[node.name]

    def _resolve(self, node: GraphNode) -> Resolved:
        root = self.project.root
        return resolve(node.stage, node.tree, root, self.files, self.fingerprints)

    def decide(self, node: GraphNode, inputs: Mapping[str, str], fresh: bool = False) -> Decision:
        """Look a node up.

        Args:
            node: the node.
            inputs: input port → tree digest, as far as they are known.
            fresh: run it whatever the store holds.
        """
        resolved = self.resolved(node)
        previous = self._previous(node.name)
        unknown = [source.node for port, source in node.inputs.items() if port not in inputs]
        if unknown:
            reason = f"its input {', '.join(dict.fromkeys(unknown))} runs"
            return Decision(node, None, None, reason, resolved, previous)
        key = key_of(node, resolved, self._code_of(node, resolved), inputs)
        record = None if fresh else self.store.record(key.digest)
        reason = "" if record else self._reason(key, previous, fresh)
        return Decision(node, key, record, reason, resolved, previous)

    def plan(self, fresh: frozenset[str] = frozenset()) -> list[Decision]:
        """Decide for all nodes, without running any."""
        decisions: dict[str, Decision] = {}
        for name, node in self.graph.nodes.items():
            inputs = {}
            for port, source in node.inputs.items():
                record = decisions[source.node].record
                if record is not None:
                    inputs[port] = record.outputs[source.port].tree
            decisions[name] = self.decide(node, inputs, name in fresh)
        return list(decisions.values())

    def _code_of(self, node: GraphNode, resolved: Resolved) -> str:
        identity = (node.kind.name, *resolved.code.values())
        if identity not in self._code:
            code = {**self.fingerprints.of(node.kind.path, node.kind.root), **resolved.code}
            self._code[identity], body = code_digest(code)
            self.code_bodies[self._code[identity]] = body
        return self._code[identity]

    def _previous(self, name: str) -> Record | None:
        key = self.last.get(name)
        return None if key is None else self.store.record(key, whole=False)

    def _reason(self, key: Key, previous: Record | None, fresh: bool) -> str:
        if fresh:
            return "asked for"
        if previous is None:
            return "never run"
        found = list(changes(previous.made_of, key.made_of))
        if not found:
            return "its result is no longer in the cache"
        return "; ".join(found[:3]) + (f"; {len(found) - 3} more" if len(found) > 3 else "")


class LastKeys:
    """The key that each node of a pipeline had last: only for saying what changed."""

    def __init__(self, path: Path, pipeline: str) -> None:
        self.path = path
        self.pipeline = pipeline
        self._all: dict[str, Any] = {}
        try:
            value = json.loads(path.read_bytes())
            self._all = value if isinstance(value, dict) else {}
        except (OSError, ValueError):
            self._all = {}
        keys = self._all.get(pipeline)
        self._keys: dict[str, str] = dict(keys) if isinstance(keys, dict) else {}
        self._changed = False

    def get(self, node: str) -> str | None:
        """The last key of a node, if it is known."""
        key = self._keys.get(node)
        return key if isinstance(key, str) else None

    def set(self, node: str, key: str) -> None:
        """Remember a node's key; `save` writes it."""
        self._changed |= self._keys.get(node) != key
        self._keys[node] = key

    def save(self) -> None:
        """Write by one rename; losing this file loses explanations only."""
        if not self._changed:
            return
        self._all[self.pipeline] = self._keys
        temporary = self.path.with_suffix(".tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._all), encoding="utf-8")
            temporary.rename(self.path)
        except OSError:
            temporary.unlink(missing_ok=True)


class _RememberingFingerprints(Fingerprints):
    """Fingerprints that parse a file again only when it changed."""

    def __init__(self, roots: tuple[Path, ...], files: FileState) -> None:
        super().__init__(roots)
        self._files = files

    def _unit(self, path: Path, root: Path) -> Unit:
        def find(path: Path) -> dict[str, Any]:
            unit = read_unit(path, root)
            return {"definitions": dict(unit.definitions), "imports": list(unit.imports)}

        if path not in self._units:
            # The package decides what relative imports mean.
            package = ".".join(path.relative_to(root).parts[:-1])
            fact = self._files.fact(f"unit {package}", path, find)
            self._units[path] = Unit(fact["definitions"], tuple(fact["imports"]))
        return self._units[path]


def _name(path: Path, root: Path) -> str:
    absolute = path.absolute()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)
