"""The process that measures: ``python -m edgepipe_stages._measure.child REQUEST.json``.

A process of its own, so that no other state of a warm worker disturbs: pinned to as many
processors as it uses threads, without garbage collection, and ended with its parent. Importing
a framework costs more than measuring, so it measures all numbers of threads, fewest first.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgepipe.errors import EdgepipeError
from edgepipe.usercode import import_user_object
from edgepipe_stages._agreement import (
    check_classes,
    check_finite,
    check_scores,
    count_not_finite,
)
from edgepipe_stages._artifacts import ImageDataset, Interface, Model, Split
from edgepipe_stages._measure.machine import (
    busy_seconds,
    peak_memory,
    quiet_cpus,
    reset_peak_memory,
)
from edgepipe_stages._runtime import Runtime, runtime_of, scores
from edgepipe_stages._work import Work

FEWEST = 5
"""Calls that are timed even when the time is up."""

LEAST_SECONDS, LEAST_WARMUP = 0.4, 0.1
"""How long to go on at least: Linux counts who is busy in ticks of 0.01 s."""


@dataclass(frozen=True)
class Request:
    """What to measure. Paths are absolute."""

    model: str
    data: str
    project: str
    threads: list[int]
    """Numbers of threads, ascending."""
    runs: int
    warmup: int
    seconds: float
    """For the calls of one number of threads; after it no further call is made."""


@dataclass(frozen=True)
class Timing:
    """What was measured with one number of threads."""

    times: list[float]
    """Seconds of each call, in order."""
    cpu_seconds: float
    """Processor time of this process during the calls."""
    wall_seconds: float
    other_busy: float
    """Share of its processors' time that other processes took during the calls."""
    load: tuple[float, float]
    """Processes that wanted a processor, a minute's average: before and after (getloadavg)."""


@dataclass(frozen=True)
class Response:
    """What was measured."""

    timings: dict[int, Timing]
    """By number of threads."""
    peak_memory: int
    """Bytes of resident memory that opening and running the model took beyond the runtime."""
    accuracy: float
    work: Work

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Response:
        """The inverse of ``asdict``, once JSON has made strings of the numbers of threads."""
        timings = {int(threads): Timing(**each) for threads, each in value["timings"].items()}
        work = Work(**{**value["work"], "uncounted": tuple(value["work"]["uncounted"])})
        return cls(**{**value, "timings": timings, "work": work})


def main(request_file: str) -> None:
    """Read the request, measure, and write ``response.json`` beside it.

    That file holds a `Response`, or ``error``: message and hint, where the model cannot be
    measured.
    """
    _end_with_parent()
    path = Path(request_file)
    request = Request(**json.loads(path.read_text(encoding="utf-8")))
    try:
        answer = asdict(measure(request))
    except EdgepipeError as error:
        problem = error.problems[0]
        answer = {"error": [problem.message, problem.hint]}
    path.with_name("response.json").write_text(json.dumps(answer), encoding="utf-8")


def measure(request: Request) -> Response:
    """Measure in this process, which it pins for good.

    Raises:
        StageError: the runtime refuses the model, images or classes do not fit it, or its scores
            are no numbers.
    """
    allowed = os.sched_getaffinity(0)
    model = Path(request.model)
    # Before this thread is pinned: libraries count the processors that they may use only once.
    runtime_class = runtime_of(model)
    interface, data = Model.interface(model), Path(request.data)
    task = ImageDataset.interface(data)
    check_classes(interface, task)
    test = ImageDataset.load_test(data)
    image = interface.normalize(test.images[:1])

    def user_object(reference: str) -> Any:
        return import_user_object(reference, Path(request.project))

    timings: dict[int, Timing] = {}
    found: dict[str, Any] = {}
    for threads in request.threads:
        cpus = quiet_cpus(threads, allowed)
        # Threads that the runtime starts from now on inherit this.
        os.sched_setaffinity(0, cpus)
        gc.collect()
        reset_peak_memory()
        before = peak_memory()
        runtime = runtime_class(model, threads, user_object)
        step = runtime.step(image)
        for _ in range(3):
            step()
        memory = peak_memory() - before
        timings[threads] = _time(step, cpus, request)
        # The first finds what does not depend on threads, and memory that no other took before.
        found = found or {"peak_memory": memory, **_thorough(runtime, model, test, task)}
        # Before the next one opens: no two models at once.
        del runtime, step
    return Response(timings, **found)


def _time(step: Callable[[], object], cpus: list[int], request: Request) -> Timing:
    clock = time.perf_counter
    load = os.getloadavg()[0]
    gc.disable()
    _repeat(step, request.warmup, min(LEAST_WARMUP, request.seconds), request.seconds / 4)
    busy, cpu, start = busy_seconds(), time.process_time(), clock()
    times = _repeat(step, request.runs, min(LEAST_SECONDS, request.seconds), request.seconds)
    wall, cpu = clock() - start, time.process_time() - cpu
    now = busy_seconds()
    gc.enable()
    total = sum(now[n] - busy[n] for n in cpus)
    other = min(1.0, max(0.0, (total - cpu) / (wall * len(cpus))))
    return Timing(times, cpu, wall, other, (load, os.getloadavg()[0]))


def _repeat(step: Callable[[], object], calls: int, least: float, most: float) -> list[float]:
    """Call ``calls`` times and for ``least`` seconds, but not after ``most``; seconds of each."""
    clock = time.perf_counter
    times: list[float] = []
    start = clock()
    while True:
        before = clock()
        step()
        after = clock()
        times.append(after - before)
        passed = after - start
        if len(times) >= FEWEST and (passed > most or (len(times) >= calls and passed > least)):
            return times


def _thorough(runtime: Runtime, model: Path, test: Split, task: Interface) -> dict[str, Any]:
    found = scores(runtime, model, test.images)
    check_scores(found, task)
    check_finite(count_not_finite(found), len(test))
    work = runtime.work()
    accuracy = float((found.argmax(axis=1) == test.labels).mean())
    return {"accuracy": accuracy, "work": work}


def _end_with_parent() -> None:
    """prctl(2), PR_SET_PDEATHSIG: a killed worker must not leave a process that keeps cores busy."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
