"""Decides for a node whether its result is in the store, and if not, why not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepipe.errors import ConfigError, Problem
from edgepipe.explain import Change
from edgepipe.filestate import FileState
from edgepipe.fingerprint import Fingerprints, Reached, together
from edgepipe.fingerprint.remembered import RememberingFingerprints, by_root
from edgepipe.graph import Graph, GraphNode
from edgepipe.key import (
    HERE,
    Key,
    World,
    code_digest,
    distributions_of,
    key_of,
    parts_of,
    requirements,
    sites,
)
from edgepipe.kinds import packages
from edgepipe.planner import manifests
from edgepipe.planner.fitting import find, fits
from edgepipe.planner.lastkeys import LastKeys
from edgepipe.planner.reasons import Reasons
from edgepipe.project import Project
from edgepipe.sources import Resolved, resolve
from edgepipe.store import Record, Store

Ask = Callable[[Iterable[str]], Mapping[str, Record]]
"""Which of some keys have a record elsewhere."""


@dataclass(frozen=True)
class Decision:
    """What is known of a node before it runs."""

    node: GraphNode
    key: Key | None
    """None where an input's content is not known yet."""
    record: Record | None
    """Its result, if it is cached."""
    reason: str
    """Why it runs, in one line; empty if it is cached."""
    resolved: Resolved
    previous: Record | None = None
    """The record of the node's last run, whatever it was made of."""
    changes: tuple[Change, ...] = ()
    """What is not as it was in the last run."""
    causes: tuple[str, ...] = ()
    """The nodes among its inputs that run, so that their content is not known."""
    code: bytes = b"{}"
    """The code's manifest."""
    remote: bool = False
    """Its result is in the team's store only."""

    @property
    def status(self) -> str:
        """``cached``, ``remote`` or ``runs``."""
        if self.record is None:
            return "runs"
        return "remote" if self.remote else "cached"

    @property
    def manifests(self) -> Mapping[str, bytes]:
        """What its record keeps so that a later change can be explained; see `manifests`."""
        files = self.resolved.files.items()
        return {"code": self.code} | {f"contents.{p}": manifests.body(f) for p, f in files}


@dataclass(frozen=True)
class _Code:
    """The code of one kind with one choice of the user's code."""

    digest: str
    body: bytes
    foreign: Mapping[str, str]
    """Versions of what the user's code imports."""


class Planner:
    """Decisions for the nodes of one graph."""

    def __init__(
        self,
        graph: Graph,
        kinds_roots: tuple[Path, ...],
        project: Project,
        world: World = HERE,
    ) -> None:
        self.graph = graph
        self.project = project
        self.world = world
        self.store = Store(project.cache)
        self.files = FileState(project.state / "files.json")
        own = {project.root, *project.plugins}
        self.fingerprints = RememberingFingerprints(
            (*kinds_roots, project.root), by_root(packages(), own), self.files
        )
        self._sites = sites()
        self.edits = 0
        """How often code was found to be edited since it was read first."""
        self.last = LastKeys(project.state / "last.json", _name(graph.path, project.root))
        self._reasons = Reasons(self.last)
        self._resolved: dict[str, Resolved] = {}
        self._code: dict[tuple[str, ...], _Code] = {}
        self._versions: dict[frozenset[str], Mapping[str, str]] = {}

    @property
    def warnings(self) -> list[str]:
        """What was wrong with the project's state; a run makes it again."""
        damaged = [s.path for s in (self.files, self.last) if s.damaged]
        return [f"{path} was damaged: what it held is found out again" for path in damaged]

    @property
    def distributions(self) -> set[str]:
        """Those whose versions are part of a key."""
        named = {name for node in self.graph.nodes.values() for name in node.stage.needs()}
        return named.union(*self._versions.values())

    def check(self) -> None:
        """Find everything that nodes need: files, code, distributions.

        Raises:
            ConfigError: with all that is not there.
        """
        problems: dict[Problem, None] = {}
        for node in self.graph.nodes.values():
            try:
                self._code_of(node, self.resolved(node))
                requirements(node, self.world)
            except ConfigError as error:
                problems |= dict.fromkeys(error.problems)
        if problems:
            raise ConfigError(list(problems))

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

    def resolved(self, node: GraphNode) -> Resolved:
        """A node's parameters with the user's files and code found."""
        if node.name not in self._resolved:
            self._resolved[node.name] = self.resolve(node, self.fingerprints)
        return self._resolved[node.name]

    def resolve(self, node: GraphNode, fingerprints: Fingerprints) -> Resolved:
        """The same, found anew."""
        return resolve(node.stage, node.tree, self.project.root, self.files, fingerprints)

    def renew(self) -> None:
        """Read all code again that was decided on, where it was edited since."""
        older = self.fingerprints
        if not older.edited() and not older.modules.relisted():
            return
        self.fingerprints = older.anew()
        self.fingerprints.keep_what_is_no_code(older)
        self.edits += 1
        for name, resolved in self._resolved.items():
            node = self.graph.nodes[name]
            # What cannot be read is its node's affair, when it is that one's turn.
            with contextlib.suppress(ConfigError):
                if resolved.reached.code:
                    resolved = self.resolve(node, self.fingerprints)
                self.reach(node, resolved, self.fingerprints)

    @property
    def reinstalled(self) -> bool:
        """Whether something was installed or removed since the first decision."""
        return self.world is HERE and sites() != self._sites

    def decide(self, node: GraphNode, inputs: Mapping[str, str], fresh: bool = False) -> Decision:
        """Look a node up.

        Args:
            node: the node.
            inputs: input port → tree digest, as far as they are known.
            fresh: run it whatever the store holds.
        """
        resolved = self.resolved(node)
        code = self._code_of(node, resolved)
        unknown = [source.node for port, source in node.inputs.items() if port not in inputs]
        causes = tuple(dict.fromkeys(unknown))
        key = record = None
        if not unknown:
            key = key_of(node, resolved, code.digest, inputs, self.world, code.foreign)
            record = None if fresh else find(self.store, node, key.digest)
        if key is not None and record is not None:
            is_last = self.last.get(node.name) in {key.digest, None}
            previous = record if is_last else self._reasons.previous(node.name, self.store)
            return Decision(node, key, record, "", resolved, previous, code=code.body)
        previous = self._reasons.previous(node.name, self.store)
        changes: tuple[Change, ...] = ()
        if previous is not None:
            # An input that is not known yet is no change yet.
            before = previous.made_of.get("inputs", {})
            known = {**{p: d for p, d in before.items() if p in node.inputs}, **inputs}
            made_of = parts_of(node, resolved, code.digest, known, self.world, code.foreign)
            now = {f"contents.{name}": files for name, files in resolved.files.items()}
            now["code"] = json.loads(code.body)
            changes = self._reasons.changes(node, previous, made_of, now, self.store)
        reason = "asked for" if fresh else self._reasons.text(node, changes, causes, previous)
        return Decision(node, key, None, reason, resolved, previous, changes, causes, code.body)

    def made_of(self, decision: Decision) -> dict[str, Any]:
        """What a node's key is made of; an input that is not known yet is None."""
        if decision.key is not None:
            return dict(decision.key.made_of)
        node, resolved = decision.node, decision.resolved
        code = self._code_of(node, resolved)
        made_of = parts_of(node, resolved, code.digest, {}, self.world, code.foreign)
        return {**made_of, "inputs": dict.fromkeys(node.inputs)}

    def plan(self, fresh: frozenset[str] = frozenset(), ask: Ask | None = None) -> list[Decision]:
        """Decide for all nodes, without running any.

        Args:
            fresh: names of nodes that run in any case.
            ask: tells of some keys which records the team's store has.
        """
        decisions: dict[str, Decision] = {}
        for names in self.graph.levels() if ask else [list(self.graph.nodes)]:
            for name in names:
                node, inputs = self.graph.nodes[name], {}
                for port, source in node.inputs.items():
                    record = decisions[source.node].record
                    if record is not None:
                        inputs[port] = record.outputs[source.port].tree
                decisions[name] = self.decide(node, inputs, name in fresh)
            if ask:
                found = [decisions[name] for name in names if name not in fresh]
                missing = [d for d in found if d.key and not d.record]
                there = ask(d.key.digest for d in missing if d.key) if missing else {}
                for decision in missing:
                    record = there.get(decision.key.digest) if decision.key else None
                    if record is not None and fits(record, decision.node):
                        new = replace(decision, record=record, reason="", remote=True)
                        decisions[decision.node.name] = new
        return [decisions[name] for name in self.graph.nodes]

    def _code_of(self, node: GraphNode, resolved: Resolved) -> _Code:
        identity = (
            node.kind.name,
            *resolved.reached.code.values(),
            *sorted(resolved.reached.foreign),
        )
        if identity not in self._code:
            reached = self.reach(node, resolved, self.fingerprints)
            digest, body = code_digest(reached.code)
            self._code[identity] = _Code(digest, body, self._versions_of(reached.foreign))
        return self._code[identity]

    def reach(self, node: GraphNode, resolved: Resolved, fingerprints: Fingerprints) -> Reached:
        """All code of a node; of what is installed, what the user's own code imports."""
        kind = node.kind
        stage = fingerprints.reach(kind.path, kind.root)
        if not kind.plugin:
            # A stage of a package says itself what it requires.
            stage = replace(stage, foreign=frozenset())
        return together(stage, resolved.reached) if resolved.reached.code else stage

    def _versions_of(self, modules: frozenset[str]) -> Mapping[str, str]:
        if modules not in self._versions:
            found = (distributions_of(module, self.world) for module in sorted(modules))
            self._versions[modules] = {n: v for versions in found for n, v in versions.items()}
        return self._versions[modules]


def _name(path: Path, root: Path) -> str:
    absolute = path.absolute()
    return absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else str(absolute)
