"""The loop: what is ready is looked up, or started and recorded. It knows no screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepipe.errors import EdgepipeError, Problem, StageError
from edgepipe.events import (
    Listener,
    NodeLog,
    NodeProgress,
    NodeRetried,
    NodeStarted,
    NodeWaits,
    RunStarted,
)
from edgepipe.executor import Executor, Message
from edgepipe.graph import Graph, GraphNode
from edgepipe.jobs import Workplace, check_gpus, job_of, lay_out, log_name
from edgepipe.ledger import Ledger, Outcome
from edgepipe.machine import Machine, Needs, Room
from edgepipe.planner import Decision, Planner
from edgepipe.publishing import result_of, undeclared
from edgepipe.queues import Queues
from edgepipe.results import NodeResult
from edgepipe.runstore import RunStore
from edgepipe.store import Lock, Record, explained

if TYPE_CHECKING:
    from edgepipe.remote import Remote

_POLL_SECONDS = 1.0
_ELSEWHERE_SECONDS = 0.1
"""How often to look whether another run has made what this one needs."""


@dataclass(frozen=True)
class Options:
    """How a run goes about its work."""

    machine: Machine
    """What all running nodes together may use."""
    jobs: int
    """Nodes that may run at once."""
    fresh: frozenset[str] = frozenset()
    """Nodes that run whatever the cache holds."""
    keep_going: bool = True
    """After a failure, finish what does not depend on it."""


class Runner:
    """Runs one graph once."""

    def __init__(
        self,
        planner: Planner,
        executor: Executor,
        listener: Listener,
        options: Options,
        logs: Path,
        remote: Remote | None = None,
    ) -> None:
        self.planner = planner
        self.graph: Graph = planner.graph
        self.cache = RunStore(planner, remote, self._warn)
        self.executor = executor
        self.tell = listener
        self.options = options
        self.logs = logs
        self.room = Room(options.machine, options.jobs)
        self.ledger = Ledger(self.graph, listener)
        self.records: dict[str, Record] = {}
        self.decisions: dict[str, Decision] = {}
        self.made: dict[str, Record] = {}
        """What this run made, by key."""
        self.running: dict[str, Workplace] = {}
        self.twins: dict[str, list[str]] = {}
        """Key → nodes that wait for a running node of the same key."""
        self.elsewhere: list[str] = []
        """Nodes that another run is making."""
        self.waited: set[str] = set()
        """Nodes of which that was told."""
        self.attempts: dict[str, int] = {}
        self.stopping = False

    def run(self, run_id: str, decisions: list[Decision]) -> Outcome:
        """Run to the end, or to an interrupt; the executor is closed in any case.

        Args:
            run_id: names the run.
            decisions: what the planner says of each node.

        Raises:
            ConfigError: a node that has to run needs more GPUs than there are.
        """
        check_gpus(decisions, self.options.machine)
        self.planner.need_environments(decisions)
        self.cache.open(run_id)
        times = {d.node.name: d.previous.seconds for d in decisions if d.previous}
        kinds = {name: node.kind.name for name, node in self.graph.nodes.items()}
        self.tell(RunStarted(run_id, self.graph.name, kinds, self.options.jobs, times))
        self.queues = Queues(self.graph, times)
        try:
            self._go_on()
            while self.running or self.elsewhere:
                for message in self._wait():
                    self._handle(message)
                self._go_on()
            self.executor.close()
        except KeyboardInterrupt:
            self._interrupt()
        except BaseException:
            self.executor.close(force=True)
            raise
        finally:
            for name in list(self.running):
                self._clear(name)
            self.cache.close(wait=not self.ledger.outcome.interrupted)
            self.planner.last.save()
            self.planner.files.save()
        return self.ledger.close(self.records)

    def _wait(self) -> list[Message]:
        """What the executor tells, after a short while at most if another run is at work too."""
        if self.running:
            seconds = _ELSEWHERE_SECONDS if self.elsewhere else _POLL_SECONDS
            return list(self.executor.poll(seconds))
        time.sleep(_ELSEWHERE_SECONDS)
        return []

    def _warn(self, text: str) -> None:
        self.tell(NodeLog("cache", text, warning=True))

    def _interrupt(self) -> None:
        self.ledger.outcome.interrupted = True
        try:
            self.executor.close()
        except KeyboardInterrupt:
            self.executor.close(force=True)
        for name in self.graph.nodes:
            if name not in self.ledger:
                self.ledger.skip(name, "interrupted" if name in self.running else "not reached")

    def _go_on(self) -> None:
        """Look up and start all that can be."""
        waiting, self.elsewhere = self.elsewhere, []
        for name in waiting:
            if not self.stopping:
                self._guarded(name, self._start)
        while self.queues.ready or self._startable():
            if self.queues.ready:
                self._look_up()
            else:
                self._guarded(self.queues.pop(), self._start)
        if self.stopping and not self.running:
            for name in self.graph.nodes:
                if name not in self.ledger:
                    self.ledger.skip(name, "stopped")

    def _startable(self) -> bool:
        """Whether the first node that must run has room; what waits for it goes after it."""
        name = self.queues.first
        if name is None or self.stopping:
            return False
        return self.room.fits(self._needs(self.graph.nodes[name]))

    def _guarded(self, name: str, step: Callable[[GraphNode], None]) -> None:
        """Do a step of a node that is not over; an error is the node's failure."""
        if name in self.ledger:
            return
        try:
            step(self.graph.nodes[name])
        except EdgepipeError as error:
            self._fail(name, error.problems[0])

    def _look_up(self) -> None:
        """Settle the ready nodes that are cached; queue those that are not."""
        names = [name for name in self.queues.take_ready() if name not in self.ledger]
        nodes = [self.graph.nodes[name] for name in names]
        asked = [(node, self._inputs(node)) for node in nodes]
        for decision in self.cache.look_up(asked, self.options.fresh):
            self.decisions[decision.node.name] = decision
            self._guarded(decision.node.name, self._take)

    def _take(self, node: GraphNode) -> None:
        decision = self.decisions[node.name]
        if decision.record is not None:
            self._settle(decision, decision.record)
        else:
            self.queues.must_run(node.name)

    def _inputs(self, node: GraphNode) -> dict[str, str]:
        return {
            port: self.records[source.node].outputs[source.port].tree
            for port, source in node.inputs.items()
        }

    def _needs(self, node: GraphNode) -> Needs:
        cores = self.options.machine.cores
        threads = min(node.cpus or cores, cores)
        return Needs(threads, node.gpus, node.memory, node.stage.measures)

    def _start(self, node: GraphNode) -> None:
        """Start a node, unless what it makes is being made, or was made meanwhile."""
        decision = self.decisions[node.name]
        assert decision.key is not None
        key = decision.key.digest
        fresh = node.name in self.options.fresh
        if key in self.twins:
            self.twins[key].append(node.name)
        elif key in self.made and not fresh:
            self._settle(replace(decision, reason=""), self.made[key])
        elif (lock := self.cache.store.lock(key)) is None:
            if node.name not in self.waited:
                self.waited.add(node.name)
                self.tell(NodeWaits(node.name, "another run is making it"))
            self.elsewhere.append(node.name)
        else:
            self._start_locked(decision, key, lock, fresh=fresh)

    def _start_locked(self, decision: Decision, key: str, lock: Lock, *, fresh: bool) -> None:
        """Another run may have made it between the look-up and the lock."""
        try:
            record = None if fresh else self.cache.record(key)
            if record is None and self.room.fits(self._needs(decision.node)):
                self._launch(decision, lock)
                return
        except BaseException:
            lock.release()
            raise
        lock.release()
        if record is None:
            self.queues.must_run(decision.node.name)
        else:
            self._settle(replace(decision, reason=""), record)

    def _launch(self, decision: Decision, lock: Lock) -> None:
        node, inputs = decision.node, self._inputs(decision.node)
        with explained(self.logs):
            self.logs.mkdir(parents=True, exist_ok=True)
        attempt = self.attempts.get(node.name, 0) + 1
        place = lay_out(self.cache.store, decision, inputs, lock, attempt)
        self.attempts[node.name] = attempt
        self.running[node.name] = place
        self.twins[place.key] = []
        needs = self._needs(node)
        gpus = self.room.take(node.name, needs)
        self.tell(NodeStarted(node.name, decision.reason))
        log = self.logs / log_name(node.name)
        self.executor.start(job_of(place, self.planner, log, needs.threads, gpus))

    def _handle(self, message: Message) -> None:
        name, data = message.node, message.data
        if name not in self.running:
            return
        if message.name in {"log", "warning"}:
            self.tell(NodeLog(name, data["message"], message.name == "warning"))
        elif message.name == "progress":
            self.tell(NodeProgress(name, data["done"], data["total"], data["numbers"]))
        elif message.name == "error":
            self._broke(name, Problem(data["message"], data["hint"]))
        elif message.name == "done":
            self._publish(self.running[name], data)

    def _publish(self, place: Workplace, facts: Mapping[str, float]) -> None:
        decision, node = place.decision, place.decision.node
        try:
            if changed := self.planner.changed(decision):
                message = f"the files of {', '.join(changed)} changed while the node read them"
                raise StageError(message, "run again: the result would be of neither")
            if spoiled := place.spoiled():
                message = f"the node wrote to its input {', '.join(spoiled[:3])}"
                raise StageError(message, "inputs are read-only: copy what run() changes")
            record = self.cache.publish(decision, place.outputs, facts)
        except EdgepipeError as error:
            self._broke(node.name, error.problems[0])
            return
        self.made[record.key] = record
        self._clear(node.name, done=True)
        for name in undeclared(node, record):
            text = f"the metric '{name}' is not declared by {node.kind.name}: no gate can name it"
            self.tell(NodeLog(node.name, text, warning=True))
        self._settle(decision, record, ran=True)

    def _settle(self, decision: Decision, record: Record, *, ran: bool = False) -> None:
        name = decision.node.name
        self.records[name] = record
        self.planner.last.set(name, record.key)
        log = f"logs/{log_name(name)}" if ran else ""
        self.ledger.finish(result_of(self.cache.store, decision, record, log))
        self.queues.settled(name)

    def _broke(self, name: str, problem: Problem) -> None:
        """A running node failed: it is tried again, or that was it."""
        node, place = self.graph.nodes[name], self.running[name]
        self._clear(name)
        if place.attempt <= node.retries and not self.stopping:
            self.tell(NodeRetried(name, place.attempt, node.retries, problem.message))
            self.queues.must_run(name)
        else:
            self._fail(name, problem, place.seconds)

    def _clear(self, name: str, *, done: bool = False) -> None:
        """Take all back that a running node had; who waited for its result goes on."""
        place = self.running.pop(name)
        place.clear(done=done)
        self.room.give_back(name)
        for twin in self.twins.pop(place.key):
            self.queues.must_run(twin)

    def _fail(self, name: str, problem: Problem, seconds: float = 0.0) -> None:
        self.stopping = self.stopping or not self.options.keep_going
        error = f"{problem.message}\n{problem.hint}" if problem.hint else problem.message
        log = self.logs / log_name(name)
        kind = self.graph.nodes[name].kind.name
        result = NodeResult(name, kind, "failed", seconds, error=error, log=f"logs/{log.name}")
        self.ledger.fail(result, str(log) if log.exists() else "")
