"""The loop: what is ready is looked up, or started and recorded. It knows no screen."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgepipe.errors import EdgepipeError
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
from edgepipe.gates import Gate, MetricRef
from edgepipe.graph import SIZE, Graph, GraphNode
from edgepipe.planner import Decision, Planner
from edgepipe.results import GateResult, NodeResult, OutputResult, RunStatus
from edgepipe.stage import Metrics
from edgepipe.store import Output, Record, Store

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
        self.running: dict[str, _Running] = {}
        self.stopping = False

    def run(self, run_id: str) -> Outcome:
        """Run to the end, or to an interrupt; the executor is closed in any case."""
        decisions = self.planner.plan(self.options.fresh)
        times = {d.node.name: d.previous.seconds for d in decisions if d.previous}
        kinds = {name: node.kind.name for name, node in self.graph.nodes.items()}
        self.tell(RunStarted(run_id, self.graph.name, kinds, self.options.jobs, times))
        priority = self._priorities(times)
        waiting = sorted(self.graph.nodes, key=lambda n: -priority[n])
        try:
            while waiting or self.running:
                waiting = self._start_ready(waiting)
                if self.running:
                    for message in self.executor.poll(_POLL_SECONDS):
                        self._handle(message)
            self.executor.close()
        except KeyboardInterrupt:
            self._interrupt()
        finally:
            for running in self.running.values():
                shutil.rmtree(running.staging, ignore_errors=True)
            self.planner.last.save()
            self.planner.files.save()
        self._check_gates()
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
                inputs = {
                    port: self.records[source.node].outputs[source.port].tree
                    for port, source in node.inputs.items()
                }
                fresh = name in self.options.fresh
                try:
                    decision = self.planner.decide(node, inputs, fresh)
                    if decision.record is not None:
                        self._settle(decision, decision.record, "cached")
                    elif blocked or not self._fits(node):
                        # What waits for room goes before what has a lower priority.
                        blocked = True
                        rest.append(name)
                    else:
                        self._start(decision, inputs)
                except EdgepipeError as error:
                    self._fail(node, error.problems[0].message, error.problems[0].hint)
        return rest

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

    def _start(self, decision: Decision, inputs: Mapping[str, str]) -> None:
        node = decision.node
        assert decision.key is not None
        staging = self.store.staging()
        running = _Running(
            decision, staging, self.store.scratch(decision.key.digest), self._threads(node)
        )
        try:
            for port, tree in inputs.items():
                self.store.link(tree, staging / "in" / port)
            outputs = {port: staging / "out" / port for port in node.stage.outputs}
            for path in outputs.values():
                path.mkdir(parents=True)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        self.running[node.name] = running
        self.logs.mkdir(parents=True, exist_ok=True)
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
            )
        )

    def _log(self, name: str) -> Path:
        safe = name.replace("[", "-").replace("]", "").replace(",", "-").replace(os.sep, "_")
        return self.logs / f"{safe}.log"

    def _handle(self, message: Message) -> None:
        name, data = message.node, message.data
        if name not in self.running:
            return
        if message.name in {"log", "warning"}:
            self.tell(NodeLog(name, data["message"], message.name == "warning"))
        elif message.name == "progress":
            self.tell(NodeProgress(name, data["done"], data["total"], data["numbers"]))
        elif message.name == "error":
            node = self.graph.nodes[name]
            self._clear(name)
            self._fail(node, data["message"], data["hint"])
        elif message.name == "done":
            self._publish(self.running[name], data)

    def _publish(self, running: _Running, facts: Mapping[str, float]) -> None:
        decision = running.decision
        node, key = decision.node, decision.key
        assert key is not None
        try:
            outputs: dict[str, Output] = {}
            metrics: dict[str, float] = {}
            for port, type_ in node.stage.outputs.items():
                folder = running.staging / "out" / port
                if issubclass(type_, Metrics):
                    metrics |= type_.numbers(folder)
                payload = folder / type_.payload if type_.payload else None
                size = payload.stat().st_size if payload else None
                tree = self.store.put_tree(folder)
                outputs[port] = Output(
                    type_.__name__, tree.digest, tree.size if size is None else size
                )
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
        except EdgepipeError as error:
            self._clear(node.name)
            self._fail(node, error.problems[0].message, error.problems[0].hint)
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

    def _fail(self, node: GraphNode, message: str, hint: str) -> None:
        error = f"{message}\n{hint}" if hint else message
        log = self._log(node.name)
        result = NodeResult(
            node.name, node.kind.name, "failed", error=error, log=f"logs/{log.name}"
        )
        self.stopping = self.stopping or not self.options.keep_going
        self._finish(result, str(log) if log.exists() else "")

    def _finish(self, result: NodeResult, log_path: str = "") -> None:
        self.outcome.nodes[result.name] = result
        self.tell(NodeFinished(result, log_path))

    def _check_gates(self) -> None:
        for gate, _ in self.graph.gates:
            result = self._gate(gate)
            self.outcome.gates.append(result)
            self.tell(GateChecked(result))

    def _gate(self, gate: Gate) -> GateResult:
        try:
            left, right, passed = gate.evaluate(self._metric)
        except KeyError as error:
            return GateResult(gate.text, False, None, None, error=f"not known: {error.args[0]}")
        except ZeroDivisionError:
            return GateResult(gate.text, False, None, None, error="a division by zero")
        return GateResult(gate.text, passed, left, right, self._unit(gate))

    def _metric(self, metric: MetricRef) -> float:
        ref = metric.ref
        name = ref.node if ref.index is None else f"{ref.node}[{ref.index}]"
        record, what = self.records.get(name), ref.rest[-1]
        if record is None:
            raise KeyError(f"{name} has no result")
        if what == SIZE:
            port = ref.rest[0] if len(ref.rest) > 1 else self.graph.nodes[name].artifact
            if port is not None:
                return float(record.outputs[port].size)
        if what not in record.metrics:
            raise KeyError(f"{name} made no {what}")
        return record.metrics[what]

    def _unit(self, gate: Gate) -> str:
        units = set()
        for metric in gate.metrics:
            ref = metric.ref
            name = ref.node if ref.index is None else f"{ref.node}[{ref.index}]"
            known = self.graph.nodes[name].stage.metrics
            what = ref.rest[-1]
            units.add("bytes" if what == SIZE else known[what].unit if what in known else "number")
        return units.pop() if len(units) == 1 else "number"
