"""Runs jobs in worker processes on this machine. A worker that is idle takes the next job."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepipe import masking
from edgepipe.executor import Job, Message, memory
from edgepipe.executor.descendants import signal_all
from edgepipe.executor.process import start_worker
from edgepipe.temporary import Temporary
from edgepipe.units import show

_GRACE = 5.0
"""Seconds that a worker has to end after SIGTERM."""
_SAMPLE_SECONDS = 0.05

_Fits = tuple[str, int, str]
"""What a process is given at its start: interpreter, threads, GPUs."""


@dataclass
class _Worker:
    """A process that runs one job after another."""

    process: subprocess.Popen[bytes]
    messages: int
    """File descriptor that its messages come from."""
    fits: _Fits
    """The jobs that it can take."""
    job: Job | None = None
    number: int = 0
    """Of its job, among those that it got."""
    outdated: bool = False
    """Whether it takes no more jobs."""
    used: bool = False
    """Whether it has served a job before."""
    begun: bool = False
    """Whether it said that it has its job."""
    deadline: float | None = None
    buffer: bytes = b""
    ended_by_us: str = ""
    """Why this executor ended it; empty if it did not."""
    peak: int = 0
    """Bytes of resident memory, the most that was seen during its job."""


class LocalExecutor:
    """See `edgepipe.executor.Executor`."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._failed: list[Message] = []
        """Of jobs for which no worker could be started."""
        self._temporary = Temporary()
        self._sampled = 0.0
        """When it was last looked how much memory workers have taken."""
        self._killings = memory.killings()
        """Processes of the machine that the kernel had killed for memory by then: one that is
        killed a moment before this becomes more is most likely among them.
        """

    def start(self, job: Job) -> None:
        try:
            worker = self._idle(job) or self._spawn(job)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            message = f"the interpreter {job.interpreter or sys.executable} cannot be started: "
            hint = "build its environment again: edgepipe env rm NAME, edgepipe env sync NAME"
            self._failed.append(
                Message(job.node, "error", {"message": message + reason, "hint": hint})
            )
            return
        worker.job, worker.begun = job, False
        worker.number += 1
        worker.peak = 0
        worker.deadline = None if job.timeout is None else time.monotonic() + job.timeout
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            # A worker that died meanwhile is noticed by poll().
            worker.process.stdin.write(json.dumps([worker.number, vars(job)]).encode() + b"\n")
            worker.process.stdin.flush()

    def renew(self) -> None:
        for worker in self._workers:
            worker.outdated = True

    def poll(self, timeout: float) -> Sequence[Message]:
        messages, self._failed = self._failed, []
        now = time.monotonic()
        timeout = 0.0 if messages else timeout
        deadlines = [w.deadline for w in self._workers if w.deadline is not None]
        if deadlines:
            timeout = max(0.0, min(timeout, min(deadlines) - now))
        for key, _ in self._selector.select(timeout):
            messages += self._read(key.data)
        for worker in list(self._workers):
            if worker.process.poll() is not None:
                messages += self._gone(worker)
        if now - self._sampled > _SAMPLE_SECONDS:
            self._sampled, self._killings = now, memory.killings()
            for worker in self._workers:
                if worker.job is not None:
                    worker.peak = max(worker.peak, memory.resident(worker.process.pid))
        for worker in self._workers:
            if worker.job and worker.deadline is not None and time.monotonic() > worker.deadline:
                worker.ended_by_us = f"it took longer than its timeout of {worker.job.timeout:g} s"
                worker.deadline = None
                signal_all(worker.process.pid, signal.SIGKILL)
        return messages

    def close(self, *, force: bool = False) -> None:
        for worker in self._workers:
            if force or worker.job is not None:
                signal_all(worker.process.pid, signal.SIGKILL if force else signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for worker in list(self._workers):
            if worker.job is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, deadline - time.monotonic()))
            self._retire(worker)
        self._temporary.close()

    def _idle(self, job: Job) -> _Worker | None:
        for worker in list(self._workers):
            if worker.job is None and (
                worker.outdated
                or worker.process.poll() is not None
                # What a stage leaked, or a framework keeps, is not the next one's burden.
                or memory.resident(worker.process.pid) > memory.BLOATED
            ):
                self._retire(worker)
        idle = [w for w in self._workers if w.job is None]
        for worker in idle:
            if worker.fits == _fits(job):
                return worker
        if idle and len(self._workers) >= self.max_workers:
            self._retire(idle[0])
        return None

    def _retire(self, worker: _Worker) -> None:
        """End a worker, and whatever its stages started."""
        assert worker.process.stdin is not None
        # Once it saw its input closed and ended itself, nothing would tell what it had started.
        signal_all(worker.process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.close()
        worker.process.wait()
        if worker in self._workers:
            self._workers.remove(worker)
            self._selector.unregister(worker.messages)
            os.close(worker.messages)

    def _spawn(self, job: Job) -> _Worker:
        read, write = os.pipe()
        try:
            process = start_worker(job, write, self._temporary)
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        os.set_blocking(read, False)
        worker = _Worker(process, read, _fits(job))
        self._workers.append(worker)
        self._selector.register(read, selectors.EVENT_READ, worker)
        return worker

    def _read(self, worker: _Worker) -> list[Message]:
        data = os.read(worker.messages, 1 << 16)
        if not data:
            return self._ended(worker)
        *lines, worker.buffer = (worker.buffer + data).split(b"\n")
        messages = []
        for line in lines:
            if worker.job is None:
                continue
            value = json.loads(line)
            if value["job"] != worker.number:
                # A process or thread that an earlier job left behind.
                continue
            if value["name"] == "begun":
                worker.begun = True
                continue
            message = Message(worker.job.node, value["name"], value["data"])
            if message.last:
                worker.job = worker.deadline = None
                worker.used = True
            messages.append(message)
        return messages

    def _gone(self, worker: _Worker) -> list[Message]:
        """The worker ended; something that a stage started may still hold its messages open."""
        messages: list[Message] = []
        with contextlib.suppress(BlockingIOError):
            while worker in self._workers:
                messages += self._read(worker)
        return messages + (self._ended(worker) if worker in self._workers else [])

    def _ended(self, worker: _Worker) -> list[Message]:
        """The worker crashed, or was ended."""
        job = worker.job
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(_GRACE)
        self._retire(worker)
        if job is None:
            return []
        if worker.used and not (worker.begun or worker.ended_by_us):
            # It died while it was idle, a moment before that could be seen.
            self.start(job)
            return []
        with contextlib.suppress(OSError):
            masking.mask_file(Path(job.log), masking.values(job.secrets))
        message, hint = _why(worker, for_memory=memory.killings() > self._killings)
        return [Message(job.node, "error", {"message": message, "hint": hint})]


def _why(worker: _Worker, *, for_memory: bool) -> tuple[str, str]:
    if worker.ended_by_us:
        return worker.ended_by_us, "raise timeout: of this node, or give it less to do"
    code = worker.process.returncode
    if code == -signal.SIGKILL:
        message = (
            "its process was killed by the system, because memory ran out"
            if for_memory
            else "its process was killed (SIGKILL), by someone or because memory ran out"
        )
        if worker.peak:
            message += f"; it had taken {show(worker.peak, 'bytes')}"
        return message, "give it less: a smaller batch or model, or run fewer nodes with --jobs"
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process crashed ({name})", "the log shows how far it came"
    return f"its process ended with status {code}", "a stage must return, and never exit"


def _fits(job: Job) -> _Fits:
    return job.interpreter, job.threads, job.gpus
