"""What all benchmark stages share: parameters, metrics, and the process that measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, StageError
from edgepipe_stages._artifacts import Model
from edgepipe_stages._measure import child
from edgepipe_stages._measure.child import Request, Response, Timing

SLOW = 1.5
"""A call that takes this many times as long as the fastest was disturbed."""

_MOST_SLOW, _MOST_BUSY, _LEAST_RUNNING = 0.05, 0.1, 0.9
"""Limits beyond which a measurement is called noisy."""

_PERCENTILES = (50, 90, 99)


def _latency_metrics() -> dict[str, Metric]:
    found = {}
    for threads in (1, 2, 4):
        prefix = "latency" if threads == 1 else f"latency_{threads}t"
        cores = f"; absent if not asked for, or on fewer than {threads} cores" * (threads > 1)
        for p in _PERCENTILES:
            meaning = f"{p} % of calls took at most this, one image, threads: {threads}{cores}"
            found[f"{prefix}_p{p}"] = Metric("s", meaning)
    return found


class Benchmark(Stage):
    """Base of the benchmark stages; a subclass says which model it takes."""

    outputs = {"report": Metrics}
    measures = True
    metrics = {
        "accuracy": Metric("fraction", "of the whole test split"),
        "size_bytes": Metric("bytes", "of the file that holds the model"),
        **_latency_metrics(),
        "latency_min": Metric("s", "the fastest call, one image, threads: 1"),
        "peak_memory_bytes": Metric(
            "bytes",
            "growth of the process's peak resident memory while it opens the model and runs it"
            " three times, beyond what it had with the runtime imported",
        ),
        "macs": Metric(
            "count",
            "multiply-accumulate operations for one image, less those of the operators that"
            " uncounted_operators in the report names",
        ),
        "parameters": Metric("count", "weights and biases that the model holds"),
        "cpu_per_wall": Metric(
            "number", "processor seconds for each second of the measurement with one thread"
        ),
        "noise": Metric(
            "fraction",
            f"of calls with one thread that took over {SLOW} times as long as the fastest",
        ),
    }

    runs: int = Field(
        200, ge=50, le=100_000, description="calls that are timed, at least; each one image"
    )
    warmup: int = Field(20, ge=1, le=10_000, description="calls before, at least, which are not")
    seconds: float = Field(
        5.0, gt=0, le=3600, description="for the calls of one number of threads; ends them early"
    )
    threads: tuple[Literal[1, 2, 4], ...] = Field(
        (1, 2), description="numbers of threads to measure with; 1 always is"
    )
    timeout: float = Field(
        1800.0, gt=0, description="seconds after which a process that measures is ended"
    )

    runtime: ClassVar[str]
    """Its name, for messages."""

    def run(self, ctx: Context) -> None:
        wanted = sorted({1, *self.threads})
        cores = len(os.sched_getaffinity(0))
        possible: list[int] = [threads for threads in wanted if threads <= cores]
        if possible != wanted:
            ctx.log(f"{cores} cores: measured with at most {possible[-1]} threads")
        found = self._measure(ctx, possible)
        reasons = _disturbances(found.timings)
        if reasons:
            ctx.warn(f"noisy: {'; '.join(reasons)}")
        if found.work.left_out:
            ctx.warn(found.work.left_out)
        model = ctx.input_paths["model"]
        numbers = _numbers(found, _payload(model, type(self)))
        ctx.save("report", {**numbers, **_details(found, reasons)})

    def _measure(self, ctx: Context, threads: list[int]) -> Response:
        request = Request(
            model=str(ctx.input_paths["model"].resolve()),
            data=str(ctx.input_paths["data"].resolve()),
            project=str(ctx.project.resolve()),
            threads=threads,
            runs=self.runs,
            warmup=self.warmup,
            seconds=self.seconds,
        )
        file = ctx.scratch / "request.json"
        answer = ctx.scratch / "response.json"
        answer.unlink(missing_ok=True)
        file.write_text(json.dumps(asdict(request)), encoding="utf-8")
        try:
            # -P: a module in the current folder must not stand in for an installed one.
            done = subprocess.run(
                [sys.executable, "-P", "-m", child.__name__, str(file)],
                env=_environment(threads[-1]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StageError(
                f"measuring the model in {self.runtime} took longer than {self.timeout:g} s",
                "raise 'timeout', or lower 'runs' and 'seconds'",
            ) from error
        said = done.stderr.decode(errors="replace").strip()
        if said:
            ctx.log(said)
        if done.returncode or not answer.is_file():
            raise _died(self.runtime, done.returncode, said)
        response = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in response:
            raise StageError(*response["error"])
        return Response.from_json(response)


def _environment(threads: int) -> dict[str, str]:
    """The worker's, less what it says of threads for stages that share the machine.

    OpenMP's threads spin for a short time only: ones that spin for long wait for a core that
    others use, and then the neighbors are measured more than the model.
    """
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "MKL_"))}
    return ours | {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "1000"}


def _died(runtime: str, code: int, said: str) -> StageError:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
    last = said.splitlines()[-1] if said else "it said nothing"
    hint = "signal 9 is often the system's answer to too little memory" if code == -9 else ""
    return StageError(f"the process that measures in {runtime} {how}: {last}", hint)


def _payload(model: Path, stage: type[Stage]) -> int:
    """Size of the model's file, in bytes."""
    type_ = stage.inputs["model"]
    assert isinstance(type_, type)
    assert issubclass(type_, Model)
    assert type_.payload
    return (model / type_.payload).stat().st_size


def _numbers(found: Response, size: int) -> dict[str, float]:
    one = found.timings[1]
    numbers: dict[str, float] = {
        "accuracy": found.accuracy,
        "size_bytes": size,
        "latency_min": min(one.times),
        "peak_memory_bytes": found.peak_memory,
        "macs": found.work.macs,
        "parameters": found.work.parameters,
        "cpu_per_wall": one.cpu_seconds / one.wall_seconds,
        "noise": _slow(one),
    }
    for threads, timing in found.timings.items():
        prefix = "latency" if threads == 1 else f"latency_{threads}t"
        for p in _PERCENTILES:
            numbers[f"{prefix}_p{p}"] = percentile(timing.times, p)
    return numbers


def _details(found: Response, reasons: list[str]) -> dict[str, Any]:
    steps = [*range(0, 100, 5), 99, 100]
    return {
        "noisy": bool(reasons),
        "disturbances": reasons,
        "uncounted_operators": list(found.work.uncounted),
        "latency": {
            str(threads): {
                "calls": len(timing.times),
                "percent": steps,
                "seconds": [percentile(timing.times, p) for p in steps],
                "cpu_per_wall": timing.cpu_seconds / timing.wall_seconds,
                "other_busy": timing.other_busy,
                "load_before": timing.load[0],
                "load_after": timing.load[1],
            }
            for threads, timing in found.timings.items()
        },
    }


def _disturbances(found: dict[int, Timing]) -> list[str]:
    """Why a measurement is not to be trusted, for each number of threads."""
    reasons = []
    for threads, timing in found.items():
        slow, running = _slow(timing), timing.cpu_seconds / timing.wall_seconds
        busy = timing.other_busy
        seen = [
            (slow > _MOST_SLOW, f"{slow:.0%} of calls took over {SLOW} × the fastest"),
            (busy > _MOST_BUSY, f"other processes took {busy:.0%} of its processors' time"),
            (running < _LEAST_RUNNING, f"it ran only {running:.0%} of the time"),
        ]
        said = ", ".join(text for wrong, text in seen if wrong)
        if said:
            reasons.append(f"with {threads} thread{'s' * (threads > 1)} {said}")
    return reasons


def _slow(timing: Timing) -> float:
    limit = SLOW * min(timing.times)
    return sum(t > limit for t in timing.times) / len(timing.times)


def percentile(values: list[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that ``percent`` % of them do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
