"""The process that measures: ``python -m edgepipe_stages._measure.child REQUEST.json``.

A process of its own, so that no other state of a warm worker disturbs: pinned to as many
processors as it uses threads, without garbage collection, and ended with its parent.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgepipe.errors import EdgepipeError
from edgepipe.stage import import_user_object
from edgepipe_stages._artifacts import Dataset, ImageDataset, Model
from edgepipe_stages._measure.machine import busy_seconds, peak_memory, reset_peak_memory
from edgepipe_stages._runtime import Runtime, runtime_of, scores

FEWEST = 5
"""Calls that are timed even when the time is up."""

LEAST_SECONDS, LEAST_WARMUP = 0.5, 0.1
"""How long to go on at least: Linux counts who is busy in ticks of 0.01 s."""


@dataclass(frozen=True)
class Request:
    """What to measure. Paths are absolute."""

    model: str
    data: str
    project: str
    cpus: list[int]
    """To run on: as many threads as processors."""
    runs: int
    warmup: int
    seconds: float
    """After which no further call is made."""
    thorough: bool
    """Find accuracy, operations and parameters too."""


@dataclass(frozen=True)
class Response:
    """What was measured."""

    times: list[float]
    """Seconds of each call, in order."""
    cpu_seconds: float
    """Processor time of this process during the calls."""
    wall_seconds: float
    other_busy: float
    """Share of its processors' time that other processes took during the calls."""
    load: tuple[float, float]
    """Processes that wanted a processor, a minute's average: before and after (getloadavg)."""
    peak_memory: int
    """Bytes of resident memory that opening and running the model took beyond the runtime."""
    accuracy: float | None = None
    macs: int | None = None
    parameters: int | None = None
    error: list[str] = field(default_factory=list)
    """Message and hint, where the model cannot be measured."""


def main(request_file: str) -> None:
    """Read the request, measure, and write ``response.json`` beside it."""
    _end_with_parent()
    path = Path(request_file)
    request = Request(**json.loads(path.read_text(encoding="utf-8")))
    try:
        response = measure(request)
    except EdgepipeError as error:
        problem = error.problems[0]
        response = Response([], 0, 0, 0, (0, 0), 0, error=[problem.message, problem.hint])
    path.with_name("response.json").write_text(json.dumps(asdict(response)), encoding="utf-8")


def measure(request: Request) -> Response:
    """Measure in this process, which it pins for good.

    Raises:
        StageError: the runtime refuses the model, or the images do not fit it.
    """
    os.sched_setaffinity(0, request.cpus)
    model = Path(request.model)
    runtime_class = runtime_of(model)
    data: Dataset = ImageDataset.load(Path(request.data))
    image = Model.interface(model).normalize(data.test.images[:1])
    gc.collect()
    reset_peak_memory()
    before = peak_memory()
    runtime = runtime_class(
        model,
        len(request.cpus),
        lambda reference: import_user_object(reference, Path(request.project)),
    )
    step = runtime.step(image)
    for _ in range(3):
        step()
    memory = peak_memory() - before
    timed = _time(step, request)
    found = _thorough(runtime, model, data) if request.thorough else {}
    return Response(**timed, peak_memory=memory, **found)


def _time(step: Callable[[], object], request: Request) -> dict[str, Any]:
    clock = time.perf_counter
    load = os.getloadavg()[0]
    gc.disable()
    _repeat(step, request.warmup, min(LEAST_WARMUP, request.seconds), request.seconds / 4)
    busy, cpu, start = busy_seconds(), time.process_time(), clock()
    times = _repeat(step, request.runs, min(LEAST_SECONDS, request.seconds), request.seconds)
    wall, cpu = clock() - start, time.process_time() - cpu
    now = busy_seconds()
    gc.enable()
    total = sum(now[n] - busy[n] for n in request.cpus)
    return {
        "times": times,
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "other_busy": min(1.0, max(0.0, (total - cpu) / (wall * len(request.cpus)))),
        "load": (load, os.getloadavg()[0]),
    }


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


def _thorough(runtime: Runtime, model: Path, data: Dataset) -> dict[str, Any]:
    found = scores(runtime, model, data.test.images).argmax(axis=1)
    macs, parameters = runtime.macs_and_parameters()
    accuracy = float((found == data.test.labels).mean())
    return {"accuracy": accuracy, "macs": macs, "parameters": parameters}


def _end_with_parent() -> None:
    """prctl(2), PR_SET_PDEATHSIG: a killed worker must not leave a process that keeps cores busy."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
