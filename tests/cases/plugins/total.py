"""total: adds up."""

from __future__ import annotations

from _values import Numbers, trace

from edgepipe.stage import Context, Metric, Metrics, Stage, optional


class Total(Stage):
    """The sum of one list of numbers, or of two."""

    inputs = {"left": Numbers, "right": optional(Numbers)}
    outputs = {"report": Metrics}
    metrics = {"total": Metric("number", "sum of all")}

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        numbers = ctx.input("left") + (ctx.input("right") or [])
        ctx.save("report", {"total": sum(numbers), "curves": {"sum": {"x": [0], "y": numbers[:1]}}})
        trace(ctx, "end")
