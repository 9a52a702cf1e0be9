"""The loop: what is ready is looked up, or started and recorded. It knows no screen."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from edgepipe.errors import EdgepipeError, StageError
from edgepipe.events import (
    GateChecked,
    Listener,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeStarted,
    RunStarted,
)
from edgepipe.executor import Executor, Job, Message
from edgepipe.gatecheck import evaluate
from edgepipe.graph import Graph, GraphNode
from edgepipe.planner import Decision, Planner
from edgepipe.results import GateResult, NodeResult, OutputResult, RunStatus
from edgepipe.stage import Artifact, Metrics
from edgepipe.store import Output, Record, Store, Tree, explained

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Options:
    """How a run goes about its work."""

    cores: int
    """Threads that all running nodes together may keep busy."""
    jobs: int
    """Nodes that may run at once."""
    fresh: frozenset[str] = frozenset()
    """Nodes that run whatever the cache holds."""
    keep_going: bool = True
    """After a failure, finish what does not depend on it."""


@dataclass
class Outcome:
    """What came of all nodes and gates."""

    nodes: dict[str, NodeResult] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def status(self) -> RunStatus:
        """How the run ended as a whole."""
        if self.interrupted:
            return "interrupted"
        if any(node.status in {"failed", "skipped"} for node in self.nodes.values()):
            return "failed"
        return "done" if all(gate.passed for gate in self.gates) else "gate failed"


@dataclass
class _Running:
    decision: Decision
    staging: Path
    scratch: Path
    threads: int
    started: float = field(default_factory=time.monotonic)


class Runner:
    """Runs one graph once."""

    def __init__(
        self,
        planner: Planner,
        executor: Executor,
        listener: Listener,
        options: Options,
        logs: Path,
    ) -> None:
        self.planner = planner
        self.graph: Graph = planner.graph
        self.store: Store = planner.store
        self.executor = executor
        self.tell = listener
        self.options = options
        self.logs = logs
        self.outcome = Outcome()
        self.records: dict[str, Record] = {}
        self.decisions: dict[str, Decision] = {}
        self.made: dict[str, Record] = {}
        """What this run made, by key."""
        self.running: dict[str, _Running] = {}
        self.stopping = False

    def run(self, run_id: str) -> Outcome:
        """Run to the end, or to an interrupt; the executor is closed in any case."""
        decisions = self.planner.plan(self.options.fresh)
        self.planner.need_environments(decisions)
        times = {d.node.name: d.previous.seconds for d in decisions if d.previous}
        kinds = {name: node.kind.name for name, node in self.graph.nodes.items()}
        self.tell(RunStarted(run_id, self.graph.name, kinds, self.options.jobs, times))
        priority = self._priorities(times)
        waiting = sorted(self.graph.nodes, key=lambda n: -priority[n])
        try:
            waiting = self._start_ready(waiting)
            while waiting or self.running:
                messages = self.executor.poll(_POLL_SECONDS) if self.running else ()
                for message in messages:
                    self._handle(message)
                if not self.running or any(message.last for message in messages):
                    waiting = self._start_ready(waiting)
            self.executor.close()
        except KeyboardInterrupt:
            self._interrupt()
        except BaseException:
            self.executor.close(force=True)
            raise
        finally:
            for running in self.running.values():
                shutil.rmtree(running.staging, ignore_errors=True)
            self.planner.last.save()
            self.planner.files.save()
        for gate, _ in self.graph.gates:
            result = evaluate(gate, self.graph, self.records)
            self.outcome.gates.append(result)
            self.tell(GateChecked(result))
        order = {name: i for i, name in enumerate(self.graph.nodes)}
        self.outcome.nodes = dict(sorted(self.outcome.nodes.items(), key=lambda n: order[n[0]]))
        return self.outcome

    def _interrupt(self) -> None:
        self.outcome.interrupted = True
        try:
            self.executor.close()
        except KeyboardInterrupt:
            self.executor.close(force=True)
        for name, node in self.graph.nodes.items():
            if name not in self.outcome.nodes:
                reason = "interrupted" if name in self.running else "not reached"
                self._finish(NodeResult(name, node.kind.name, "skipped", reason=reason))

    def _priorities(self, times: Mapping[str, float]) -> dict[str, float]:
        """Seconds from a node to the end of the graph along the longest way."""
        longest: dict[str, float] = {}
        for name in reversed(self.graph.nodes):
            after = max((longest[user] for user in self.graph.users[name]), default=0.0)
            longest[name] = after + times.get(name, 1.0)
        return longest

    def _start_ready(self, waiting: list[str]) -> list[str]:
        """Start or settle what can be; gives back what still waits."""
        rest = []
        blocked = False
        for name in waiting:
            node = self.graph.nodes[name]
            failed = [s.node for s in node.inputs.values() if self._failed(s.node)]
            if failed or self.stopping:
                reason = (
                    f"{failed[0]} {self.outcome.nodes[failed[0]].status}" if failed else "stopped"
                )
                self._finish(NodeResult(name, node.kind.name, "skipped", reason=reason))
            elif any(s.node not in self.records for s in node.inputs.values()):
                rest.append(name)
            else:
                try:
                    decision = self._decide(node)
                    if decision.record is not None:
                        self._settle(decision, decision.record, "cached")
                    elif self._same_runs(decision):
                        rest.append(name)
                    elif blocked or not self._fits(node):
                        # What waits for room goes before what has a lower priority.
                        blocked = True
                        rest.append(name)
                    else:
                        self._start(decision)
                except EdgepipeError as error:
                    self._fail(node, error.problems[0].message, error.problems[0].hint)
        return rest

    def _decide(self, node: GraphNode) -> Decision:
        """Look a node up: once, and among what this run made since."""
        decision = self.decisions.get(node.name)
        if decision is None:
            fresh = node.name in self.options.fresh
            decision = self.planner.decide(node, self._inputs(node), fresh)
            self.decisions[node.name] = decision
        made = self.made.get(decision.key.digest) if decision.key else None
        if made is not None and node.name not in self.options.fresh:
            return replace(decision, record=made, reason="")
        return decision

    def _inputs(self, node: GraphNode) -> dict[str, str]:
        return {
            port: self.records[source.node].outputs[source.port].tree
            for port, source in node.inputs.items()
        }

    def _same_runs(self, decision: Decision) -> bool:
        """Whether another node, now running, makes the very result that this one needs."""
        running = (job.decision.key for job in self.running.values())
        return any(key and decision.key and key.digest == decision.key.digest for key in running)

    def _failed(self, name: str) -> bool:
        result = self.outcome.nodes.get(name)
        return result is not None and result.status in {"failed", "skipped"}

    def _threads(self, node: GraphNode) -> int:
        return min(node.cpus or self.options.cores, self.options.cores)

    def _fits(self, node: GraphNode) -> bool:
        if not self.running:
            return True
        alone = any(r.decision.node.stage.measures for r in self.running.values())
        if node.stage.measures or alone or len(self.running) >= self.options.jobs:
            return False
        busy = sum(running.threads for running in self.running.values())
        return busy + self._threads(node) <= self.options.cores

    def _start(self, decision: Decision) -> None:
        node = decision.node
        assert decision.key is not None
        inputs = self._inputs(node)
        staging = self.store.staging()
        outputs = {port: staging / "out" / port for port in node.stage.outputs}
        try:
            scratch = self.store.scratch(decision.key.digest)
            for port, tree in inputs.items():
                self.store.link(tree, staging / "in" / port)
            with explained(self.store.root):
                for path in outputs.values():
                    path.mkdir(parents=True)
            with explained(self.logs):
                self.logs.mkdir(parents=True, exist_ok=True)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        running = _Running(decision, staging, scratch, self._threads(node))
        self.running[node.name] = running
        self.tell(NodeStarted(node.name, decision.reason))
        kind = node.kind
        self.executor.start(
            Job(
                node=node.name,
                module=kind.module,
                path=str(kind.path),
                root=str(kind.root),
                plugin=kind.plugin,
                params=decision.resolved.for_worker,
                inputs={port: str(staging / "in" / port) for port in inputs},
                outputs={port: str(path) for port, path in outputs.items()},
                seed=node.seed,
                threads=running.threads,
                scratch=str(running.scratch),
                project=str(self.planner.project.root),
                log=str(self._log(node.name)),
                timeout=node.timeout,
                interpreter=self.planner.interpreter(node),
            )
        )

    def _log(self, name: str) -> Path:
        family, bracket, point = name.partition("[")
        # A node's name has no dot, and a value no bracket: so no two nodes share a log.
        return self.logs / f"{family}{bracket and '.'}{quote(point.rstrip(']'), safe=' ,=+@')}.log"

    def _handle(self, message: Message) -> None:
        name, data = message.node, message.data
        if name not in self.running:
            return
        seconds = time.monotonic() - self.running[name].started
        if message.name in {"log", "warning"}:
            self.tell(NodeLog(name, data["message"], message.name == "warning"))
        elif message.name == "progress":
            self.tell(NodeProgress(name, data["done"], data["total"], data["numbers"]))
        elif message.name == "error":
            self._clear(name)
            self._fail(self.graph.nodes[name], data["message"], data["hint"], seconds)
        elif message.name == "done":
            self._publish(self.running[name], data)

    def _publish(self, running: _Running, facts: Mapping[str, float]) -> None:
        decision = running.decision
        node, key = decision.node, decision.key
        assert key is not None
        try:
            if changed := self.planner.changed(decision):
                message = f"the files of {', '.join(changed)} changed while the node read them"
                raise StageError(message, "run again: the result would be of neither")
            outputs: dict[str, Output] = {}
            metrics: dict[str, float] = {}
            for port, type_ in node.stage.outputs.items():
                folder = running.staging / "out" / port
                if issubclass(type_, Metrics):
                    metrics |= type_.numbers(folder)
                tree = self.store.put_tree(folder)
                outputs[port] = Output(type_.__name__, tree.digest, _size(type_, tree))
            record = Record(
                key=key.digest,
                kind=node.kind.name,
                made_of=key.made_of,
                outputs=outputs,
                metrics=metrics,
                seconds=facts["seconds"],
                cpu_seconds=facts["cpu_seconds"],
                peak_memory=int(facts["peak_memory"]),
                created=time.time(),
            )
            self.store.put_record(record)
            self.made[record.key] = record
        except EdgepipeError as error:
            self._clear(node.name)
            seconds = time.monotonic() - running.started
            self._fail(node, error.problems[0].message, error.problems[0].hint, seconds)
            return
        self._clear(node.name)
        shutil.rmtree(running.scratch, ignore_errors=True)
        self._settle(decision, record, "ran")

    def _clear(self, name: str) -> None:
        shutil.rmtree(self.running.pop(name).staging, ignore_errors=True)

    def _settle(self, decision: Decision, record: Record, status: str) -> None:
        node = decision.node
        self.records[node.name] = record
        self.planner.last.set(node.name, record.key)
        log = self._log(node.name)
        units = {name: metric.unit for name, metric in node.stage.metrics.items()}
        self._finish(
            NodeResult(
                name=node.name,
                kind=node.kind.name,
                status="cached" if status == "cached" else "ran",
                seconds=record.seconds,
                cpu_seconds=record.cpu_seconds,
                peak_memory=record.peak_memory,
                key=record.key,
                reason=decision.reason,
                params=decision.resolved.for_key,
                inputs={port: str(source) for port, source in node.inputs.items()},
                outputs={
                    port: OutputResult(o.type, o.tree, o.size) for port, o in record.outputs.items()
                },
                metrics=record.metrics,
                units={name: units.get(name, "number") for name in record.metrics},
                details=self._details(node, record),
                log=f"logs/{log.name}" if status == "ran" else "",
            )
        )

    def _details(self, node: GraphNode, record: Record) -> dict[str, object]:
        """What the Metrics outputs hold beside numbers."""
        details: dict[str, object] = {}
        for port, type_ in node.stage.outputs.items():
            if issubclass(type_, Metrics):
                value = self.store.metrics(record.outputs[port].tree)
                deep = {k: v for k, v in value.items() if isinstance(v, dict | list | str)}
                if deep:
                    details[port] = deep
        return details

    def _fail(self, node: GraphNode, message: str, hint: str, seconds: float = 0.0) -> None:
        error = f"{message}\n{hint}" if hint else message
        log = self._log(node.name)
        result = NodeResult(
            node.name, node.kind.name, "failed", seconds, error=error, log=f"logs/{log.name}"
        )
        self.stopping = self.stopping or not self.options.keep_going
        self._finish(result, str(log) if log.exists() else "")

    def _finish(self, result: NodeResult, log_path: str = "") -> None:
        self.outcome.nodes[result.name] = result
        self.tell(NodeFinished(result, log_path))


def _size(type_: type[Artifact], tree: Tree) -> int:
    payload = (file.size for file in tree.files if file.path == type_.payload)
    return next(payload, tree.size)
