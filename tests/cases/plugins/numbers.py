"""numbers: counts."""

from __future__ import annotations

from _values import FewNumbers, trace

from edgepipe.stage import Context, Field, Metric, Metrics, Stage


class CountUp(Stage):
    """Numbers from 0 on."""

    outputs = {"values": FewNumbers, "report": Metrics}
    metrics = {"total": Metric("number", "sum of all"), "share": Metric("fraction", "of 100")}

    count: int = Field(3, ge=1, le=100, description="how many")
    start: float = Field(0.0, description="the first")

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        values = [self.start + number for number in range(self.count)]
        ctx.save("values", values)
        ctx.save("report", {"total": sum(values), "share": self.count / 100})
        trace(ctx, "end")
