"""The loop: what is ready is looked up, or started and recorded. It knows no screen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepipe.errors import EdgepipeError, Problem
from edgepipe.events import Listener, NodeLog, NodeRetried, NodeWaits, RunStarted
from edgepipe.executor import Executor
from edgepipe.graph import Graph, GraphNode
from edgepipe.machine import Machine
from edgepipe.planner import Decision, Planner
from edgepipe.planner.estimate import grown
from edgepipe.runner.jobs import check_gpus, log_name
from edgepipe.runner.ledger import Ledger, Outcome
from edgepipe.runner.publishing import failure_of, result_of
from edgepipe.runner.queues import Queues
from edgepipe.runner.running import Ended, Running
from edgepipe.runner.runstore import RunStore
from edgepipe.store import Lock, Record

if TYPE_CHECKING:
    from edgepipe.remote import Remote

_POLL_SECONDS = 1.0
_ELSEWHERE_SECONDS = 0.1
"""How often to look whether another run has made what this one needs."""
_REMOTE_SECONDS = 0.02
"""How often to look what became of transfers, while nodes run or wait for them."""
_TOLD_SECONDS = 5.0
"""How often to say that a fetch takes long."""


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
        self.tell = listener
        self.options = options
        self.logs = logs
        self.running = Running(
            planner, self.cache, executor, listener, options.machine, options.jobs, logs
        )
        self.ledger = Ledger(self.graph, listener)
        self.records: dict[str, Record] = {}
        self.decisions: dict[str, Decision] = {}
        self.made: dict[str, Record] = {}
        """What this run made, by key."""
        self.twins: dict[str, list[str]] = {}
        """Key → nodes that wait for a running node of the same key."""
        self.elsewhere: list[str] = []
        """Nodes that another run is making."""
        self.waited: set[str] = set()
        """Nodes of which that was told."""
        self.hushed = False
        """A node that measures waits until no result is moved to or from the team's store."""
        self.stopping = False
        self._told = 0.0
        """When it was last said that a fetch takes long."""

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
        self.cache.open(run_id, decisions)
        times = {d.node.name: d.previous.seconds for d in decisions if d.previous}
        kinds = {name: node.kind.name for name, node in self.graph.nodes.items()}
        told = {
            d.node.name: times[d.node.name]
            for d in decisions
            if d.previous and not grown(d.changes)
        }
        self.tell(RunStarted(run_id, self.graph.name, kinds, self.options.jobs, told))
        self.queues = Queues(self.graph, times)
        try:
            self._go_on()
            while self.running or self.elsewhere or self.hushed or self._fetching:
                self._wait()
                self._go_on()
            self.running.close()
            for text in self.cache.upload():
                self.tell(NodeWaits("cache", text))
        except KeyboardInterrupt:
            self._interrupt()
        except BaseException:
            self.running.close(force=True)
            raise
        finally:
            self.running.clear()
            self.cache.close()
            self.planner.last.save()
            self.planner.files.save()
        return self.ledger.close(self.records)

    @property
    def _fetching(self) -> bool:
        """Whether to wait for the team's store; a run that stops needs nothing more of it."""
        return self.cache.fetching and not self.stopping

    def _wait(self) -> None:
        """Take what running nodes and the team's store give, after a short while at most."""
        moving = self.hushed or self._fetching
        waits = not self.running
        if not waits:
            seconds = _ELSEWHERE_SECONDS if self.elsewhere else _POLL_SECONDS
            for ended in self.running.poll(_REMOTE_SECONDS if moving else seconds):
                self._ended(ended)
        if self._fetching:
            for decision in self.cache.arrived(_REMOTE_SECONDS if waits else 0):
                self._decided(decision)
            self._tell_of_fetches()
        elif waits:
            time.sleep(_REMOTE_SECONDS if moving else _ELSEWHERE_SECONDS)

    def _tell_of_fetches(self) -> None:
        now = time.monotonic()
        if now - self._told > _TOLD_SECONDS:
            for name, text in self.cache.waiting().items():
                self._told = now
                self.tell(NodeWaits(name, text))

    def _warn(self, text: str) -> None:
        self.tell(NodeLog("cache", text, warning=True))

    def _interrupt(self) -> None:
        self.ledger.outcome.interrupted = True
        try:
            self.running.close()
        except KeyboardInterrupt:
            self.running.close(force=True)
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
        if not self.hushed and not self.running.measuring:
            self.cache.resume()

    def _startable(self) -> bool:
        """Whether the first node that must run has room; what waits for it goes after it."""
        name = self.queues.first
        self.hushed = False
        if name is None or self.stopping:
            return False
        fits = self.running.fits(self.graph.nodes[name])
        self.hushed = not fits and not self.running
        return fits

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
            self._decided(decision)

    def _decided(self, decision: Decision) -> None:
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
            record = None if fresh else self.cache.record(decision.node, key)
            if record is None and self.running.fits(decision.node):
                self.running.start(decision, self._inputs(decision.node), lock)
                self.twins[key] = []
                return
        except BaseException:
            lock.release()
            raise
        lock.release()
        if record is None:
            self.queues.must_run(decision.node.name)
        else:
            self._settle(replace(decision, reason=""), record)

    def _ended(self, ended: Ended) -> None:
        """A node ran: its result is there, or it is tried again, or that was it."""
        node = ended.decision.node
        if ended.record is not None:
            self.made[ended.record.key] = ended.record
        for twin in self.twins.pop(ended.key):
            self.queues.must_run(twin)
        if ended.record is not None:
            self._settle(ended.decision, ended.record, ran=True)
        elif (
            ended.problem is not None
            and ended.attempt <= node.retries
            and not ended.vain
            and not self.stopping
        ):
            self.tell(NodeRetried(node.name, ended.attempt, node.retries, ended.problem.message))
            self.queues.must_run(node.name)
        elif ended.problem is not None:
            self._fail(node.name, ended.problem, ended.seconds)

    def _settle(self, decision: Decision, record: Record, *, ran: bool = False) -> None:
        name = decision.node.name
        self.records[name] = record
        self.planner.last.set(name, record.key)
        log = f"logs/{log_name(name)}" if ran else ""
        self.ledger.finish(result_of(self.cache.store, decision, record, log))
        self.queues.settled(name)

    def _fail(self, name: str, problem: Problem, seconds: float = 0.0) -> None:
        self.stopping = self.stopping or not self.options.keep_going
        log = self.logs / log_name(name)
        # A node that did not begin has none.
        near, far = (f"logs/{log.name}", str(log)) if log.exists() else ("", "")
        self.ledger.fail(failure_of(self.decisions[name], problem, seconds, near), far)
