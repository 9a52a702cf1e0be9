"""measure: takes time."""

from __future__ import annotations

import time

from _values import Numbers, trace

from edgepipe.stage import Context, Metric, Metrics, Stage


class Measure(Stage):
    """Measures how long a nap takes."""

    inputs = {"values": Numbers}
    outputs = {"report": Metrics}
    metrics = {"latency": Metric("s", "of the nap")}
    measures = True

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        started = time.perf_counter()
        time.sleep(0.05)
        ctx.save("report", {"latency": time.perf_counter() - started})
        trace(ctx, "end")
