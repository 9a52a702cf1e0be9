"""The nodes that run now: started, listened to, their results published, their places cleared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepipe.errors import EdgepipeError, Problem, StageError
from edgepipe.events import Listener, NodeLog, NodeProgress, NodeStarted
from edgepipe.executor import Executor, Message
from edgepipe.explain import few
from edgepipe.graph import GraphNode
from edgepipe.machine import Machine, Needs, Room
from edgepipe.planner import Decision, Planner
from edgepipe.runner import edits
from edgepipe.runner.jobs import Workplace, job_of, lay_out, log_name
from edgepipe.runner.publishing import undeclared
from edgepipe.runner.runstore import RunStore
from edgepipe.store import Lock, Record, explained
from edgepipe.watch import Watch, changed_while_read


@dataclass(frozen=True)
class Ended:
    """A node that does not run any more, with the record of what it made or with a problem."""

    decision: Decision
    attempt: int
    seconds: float
    record: Record | None = None
    problem: Problem | None = None
    vain: bool = False
    """To try again would end the same: what was decided on is not there any more."""

    @property
    def key(self) -> str:
        """Digest of the node's key."""
        assert self.decision.key is not None
        return self.decision.key.digest


class Running:
    """Starts nodes on an executor, as far as there is room, and takes their messages."""

    def __init__(
        self,
        planner: Planner,
        cache: RunStore,
        executor: Executor,
        tell: Listener,
        machine: Machine,
        jobs: int,
        logs: Path,
    ) -> None:
        self._planner = planner
        self._cache = cache
        self._executor = executor
        self._tell = tell
        self._machine = machine
        self._room = Room(machine, jobs)
        self._logs = logs
        self._places: dict[str, Workplace] = {}
        self._attempts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def fits(self, node: GraphNode) -> bool:
        """Whether there is room for a node; one that measures waits until nothing is moved."""
        needs = self._needs(node)
        return self._room.fits(needs) and (not needs.alone or self._cache.hush())

    def start(self, decision: Decision, inputs: Mapping[str, str], lock: Lock) -> None:
        """Start a node, whose lock is then held until it ends.

        Raises:
            StoreError: the disk is full, or an input is not in the store any more.
            StageError: its code or its files were edited since it was decided on.
        """
        edited = self._planner.edits
        try:
            decision = edits.afresh(self._planner, decision)
        finally:
            if self._planner.edits != edited:
                self._executor.renew()
        node = decision.node
        with explained(self._logs):
            self._logs.mkdir(parents=True, exist_ok=True)
        attempt = self._attempts.get(node.name, 0) + 1
        place = lay_out(self._planner, self._cache.store, decision, inputs, lock, attempt)
        self._attempts[node.name] = attempt
        self._places[node.name] = place
        needs = self._needs(node)
        gpus = self._room.take(node.name, needs)
        try:
            self._tell(NodeStarted(node.name, decision.reason))
            log = self._logs / log_name(node.name)
            self._executor.start(job_of(place, self._planner, log, needs.threads, gpus))
        except BaseException:
            self._clear(node.name, forget=False)
            raise

    @property
    def measuring(self) -> bool:
        """Whether a node runs that measures."""
        return any(place.decision.node.stage.measures for place in self._places.values())

    def poll(self, seconds: float) -> list[Ended]:
        """Pass on what running nodes tell; those that ended, within so long at most."""
        ended = [self._handle(message) for message in self._executor.poll(seconds)]
        return [one for one in ended if one is not None]

    def close(self, *, force: bool = False) -> None:
        """End all nodes and their processes: in order, or with ``force`` at once."""
        self._executor.close(force=force)

    def clear(self) -> None:
        """Take back what nodes had that did not end."""
        for name in list(self._places):
            self._clear(name, forget=self._judged(name, None)[1])

    def _needs(self, node: GraphNode) -> Needs:
        cores = self._machine.cores
        threads = min(node.cpus or cores, cores)
        return Needs(threads, node.gpus, node.memory, node.stage.measures)

    def _handle(self, message: Message) -> Ended | None:
        name, data = message.node, message.data
        if name not in self._places:
            return None
        if message.name in {"log", "warning"}:
            self._tell(NodeLog(name, data["message"], message.name == "warning"))
        elif message.name == "vouched":
            self._places[name].vouched = frozenset(data["paths"])
        elif message.name == "progress":
            self._tell(NodeProgress(name, data["done"], data["total"], data["numbers"]))
        elif message.name == "error":
            problem = Problem(data["message"], data["hint"])
            return self._broke(name, problem, data.get("unsure"))
        elif message.name == "done":
            return self._publish(self._places[name], data)
        return None

    def _publish(self, place: Workplace, facts: Mapping[str, Any]) -> Ended:
        decision, node = place.decision, place.decision.node
        try:
            found = self._edits(place, facts.get("unsure"))
            if found.changed:
                raise StageError(*changed_while_read(found.changed))
            if spoiled := place.spoiled():
                message = f"the node wrote to its input {', '.join(spoiled[:3])}"
                raise StageError(message, "inputs are read-only: copy what run() changes")
            kept = not found.doubtful
            record = self._cache.publish(decision, place.outputs, facts, kept=kept)
        except EdgepipeError as error:
            return self._broke(node.name, error.problems[0], facts.get("unsure"))
        self._clear(node.name, forget=True)
        if found.doubtful:
            text = f"{few(found.doubtful)} changed while it ran, and its code may read that: it will run again"
            self._tell(NodeLog(node.name, text, warning=True))
        for name in undeclared(node, record):
            text = f"the metric '{name}' is not declared by {node.kind.name}: no gate can name it"
            self._tell(NodeLog(node.name, text, warning=True))
        return Ended(decision, place.attempt, place.seconds, record=record)

    def _broke(self, name: str, problem: Problem, unsure: list[str] | None) -> Ended:
        vain, astray = self._judged(name, unsure)
        place = self._places[name]
        self._clear(name, forget=astray)
        return Ended(place.decision, place.attempt, place.seconds, problem=problem, vain=vain)

    def _clear(self, name: str, *, forget: bool) -> None:
        self._places.pop(name).clear(forget=forget)
        self._room.give_back(name)

    def _judged(self, name: str, unsure: list[str] | None) -> tuple[bool, bool]:
        """Whether what a node was decided on is not there any more; whether its checkpoints may be
        of other files than those that its key knows, and would be gone on with once these are back.
        """
        place = self._places[name]
        try:
            found = self._edits(place, unsure)
            astray = found.changed or found.doubtful or (place.scratch.is_dir() and place.spoiled())
        except EdgepipeError:
            return True, True
        return bool(found.changed), bool(astray)

    def _edits(self, place: Workplace, unsure: list[str] | None) -> edits.Edits:
        """What was written since a node was started. Raises ConfigError where a file is gone.

        Args:
            place: the node's.
            unsure: what it said of that before it ended; None where it said nothing.
        """
        if unsure is None:
            watch = Watch(place.watched)
            unsure = [*(p for p in watch.written() if p not in place.vouched), *watch.relisted()]
        return edits.since(self._planner, place.decision, place.watched, unsure)
