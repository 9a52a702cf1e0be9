"""The child's side: a job comes in as a line of JSON, the stage runs, messages go out."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgepipe import masking, usercode
from edgepipe.errors import EdgepipeError, StageError
from edgepipe.executor import Job
from edgepipe.executor.descendants import signal_all
from edgepipe.kinds import Kind
from edgepipe.stage import Artifact, Context, ports_of
from edgepipe.watch import Watch
from edgepipe.worker.isolation import Isolation
from edgepipe.worker.usage import Usage
from edgepipe.worker.vouching import Vouching

_PROGRESS_SECONDS = 0.1
_IDLE_SECONDS = 0.02
_ENDING_SECONDS = 30.0
"""Checkpoints that cannot be judged within that time stay."""
_contexts: list[Context] = []
"""Of the stage that runs now, or ran last."""
_vouching = Vouching()


class _Channel:
    """Sends messages to the parent, one JSON line each."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._last = 0.0
        self._lock = threading.Lock()
        self.secrets: list[str] = []
        """What must be in no message."""

    def send(self, number: int, name: str, data: dict[str, Any]) -> None:
        """Send a message of a job; its number tells it from what an earlier one left behind."""
        if name == "progress":
            now = time.monotonic()
            if now - self._last < _PROGRESS_SECONDS and data["done"] < data["total"]:
                return
            self._last = now
        if self.secrets:
            texts = {k: v for k, v in data.items() if isinstance(v, str)}
            data = data | {k: masking.masked(v, self.secrets) for k, v in texts.items()}
        message = {"job": number, "name": name, "data": data}
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            try:
                self._file.write(line)
            except BrokenPipeError:
                _end()


def main(descriptor: int, packages: dict[str, Path] | None = None) -> None:
    """Run jobs until the parent closes standard input; a parent that dies closes it too.

    Args:
        descriptor: the file that messages are written to.
        packages: in another environment, where the folders of packages are told to the finder.
    """
    channel = _Channel(descriptor)
    isolation = Isolation()
    jobs: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
    commands = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_listen, args=(commands, jobs), daemon=True).start()
    while True:
        try:
            number, job = jobs.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            # Nobody waits now; between two short jobs it would cost more than they do.
            gc.collect()
            number, job = jobs.get()
        if packages is not None and not job.plugin:
            package = job.module.partition(".")[0]
            packages.setdefault(package, Path(job.root) / package)
        with isolation.job(job):
            run(number, job, channel, isolation.loaded)


def _listen(commands: Any, jobs: queue.SimpleQueue[tuple[int, Job]]) -> None:
    for line in commands:
        number, job = json.loads(line)
        jobs.put((number, Job(**job)))
    _end()


def _end() -> None:
    """Without a parent nobody can publish what is made here; children of the stage end too.

    Nor does anybody else know that checkpoints are of files which were edited: they go first.
    """
    limit = threading.Timer(_ENDING_SECONDS, signal_all, (os.getpgrp(), signal.SIGKILL))
    limit.daemon = True
    try:
        limit.start()
        for context in _contexts:
            _drop_if_edited(context)
    finally:
        signal_all(os.getpgrp(), signal.SIGKILL)


def _drop_if_edited(context: Context) -> None:
    """Remove checkpoints that may be of edited files; who takes over waits until that is known."""
    with contextlib.suppress(OSError):
        if not context.hold.take(os.fspath(context.scratch_path), 0.0):
            # Another run has it by now, and answers for it.
            return
        if any(context.watch.data()) or context.watch.vouch():
            astray = Path(f"{context.scratch_path}.partial")
            context.scratch_path.rename(astray)
            shutil.rmtree(astray, ignore_errors=True)


def run(
    number: int, job: Job, channel: _Channel, loaded: Callable[[], None] = lambda: None
) -> None:
    """Run one job; its last message says how it ended.

    Args:
        number: tells it from other jobs.
        job: what to run.
        channel: where messages go.
        loaded: called when the stage's class is there.
    """
    process = os.getpid()
    watch = Watch(job.watched)
    channel.send(number, "begun", {})
    channel.secrets = masking.values(job.secrets)
    try:
        log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        message = f"its log cannot be written: {job.log}: {(error.strerror or str(error)).lower()}"
        last, facts = "error", _full(error, job) or {"message": message, "hint": ""}
    else:
        with _printing_to(log):
            usage = Usage()
            try:
                _run_stage(number, job, channel, loaded, watch)
            except BaseException as error:
                traceback.print_exc()
                last, facts = "error", _explain(error, job)
            else:
                last, facts = "done", usage.facts()
            if os.getpid() != process:
                # The stage forked, and its child came back here: only one can say how the job ended.
                os._exit(0)
    with contextlib.suppress(OSError):
        masking.mask_file(Path(job.log), channel.secrets)
    channel.send(number, last, {**facts, "unsure": watch.vouch() + watch.relisted()})


def _run_stage(
    number: int, job: Job, channel: _Channel, loaded: Callable[[], None], watch: Watch
) -> None:
    usercode.start([Path(folder) for folder in job.plugins])
    kind = Kind(job.node, Path(job.path), Path(job.root), job.module, job.plugin)
    stage_class = kind.stage
    loaded()
    watch.vouch()
    # The key knows no order of a dictionary's names: the stage sees none that was written.
    stage = stage_class.model_validate_json(json.dumps(job.params, sort_keys=True))
    outputs = {port: Path(path) for port, path in job.outputs.items()}
    inputs: dict[str, type[Artifact]] = {n: p.type for n, p in ports_of(stage_class).items()}

    def report(name: str, data: dict[str, Any]) -> None:
        if name in {"log", "warning"}:
            print(data["message"], flush=True)  # noqa: T201  standard output is the node's log
        channel.send(number, name, data)

    context = Context(
        node=job.node,
        seed=job.seed,
        threads=job.threads,
        scratch_path=Path(job.scratch),
        project=Path(job.project),
        input_types=inputs,
        output_types=stage_class.outputs,
        input_paths={port: Path(path) for port, path in job.inputs.items()},
        output_paths=outputs,
        watch=watch,
        spare_path=Path(job.spare) if job.spare else None,
        report=report,
    )
    # Until the next job: the parent may die while it judges what was made.
    _contexts[:] = [context]
    _vouching.begin(watch, lambda paths: channel.send(number, "vouched", {"paths": paths}))
    try:
        stage.run(context)
    finally:
        _vouching.end()
        # The parent may be dead, and another run waits for this very moment.
        _drop_if_edited(context)
        context.hold.release()
    for port, type_ in stage_class.outputs.items():
        try:
            type_.check(outputs[port])
        except StageError as error:
            problem = error.problems[0]
            raise StageError(
                f"the output '{port}' is not valid: {problem.message}", problem.hint
            ) from error


@contextlib.contextmanager
def _printing_to(log: int) -> Iterator[None]:
    """Let everything that this process prints, native libraries too, go to the node's log.

    Args:
        log: its descriptor, which is closed.
    """
    streams = sys.stdout, sys.stderr
    for stream in streams:
        stream.flush()
    saved = os.dup(1), os.dup(2)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    try:
        yield
    finally:
        # A stage may have put others in their place, or closed them.
        for stream in (sys.stdout, sys.stderr, *streams):
            with contextlib.suppress(AttributeError, ValueError, OSError):
                stream.flush()
        for number, descriptor in zip((1, 2), saved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", closefd=False) if stream.closed else stream
            for number, stream in zip((1, 2), streams, strict=True)
        )


def _explain(error: BaseException, job: Job) -> dict[str, Any]:
    if isinstance(error, EdgepipeError):
        problem = error.problems[0]
        return {"message": problem.message, "hint": problem.hint}
    if full := _full(error, job):
        return full
    if isinstance(error, SystemExit):
        message = f"the stage ended its process: sys.exit({error.code!r})"
        return {"message": message, "hint": "a stage returns, or raises StageError"}
    if isinstance(error, MemoryError):
        return {"message": "memory ran out", "hint": "give it less: a smaller batch or model"}
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename.startswith((job.root, job.project))] or frames
    place = f"{own[-1].filename}:{own[-1].lineno}" if own else job.path
    if isinstance(error, ModuleNotFoundError) and error.name == usercode.PACKAGE:
        message = (
            "a plug-in has no relative imports: name the helper as seen from the plug-ins' folder"
        )
        return {"message": message, "hint": f"raised at {place}; the log holds the traceback"}
    try:
        text = str(error).strip().split("\n")[0]
    except Exception:  # whatever the user's class raises
        text = ""
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return {"message": message, "hint": f"raised at {place}; the log holds the traceback"}


def _full(error: BaseException, job: Job) -> dict[str, Any]:
    """What is said of a full disk; nothing of another error."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = f"the disk is full: {error.filename or Path(job.scratch).parent}"
        return {"message": message, "hint": "make room, then run again: finished nodes are kept"}
    return {}
