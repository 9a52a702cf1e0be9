"""double: multiplies."""

from __future__ import annotations

from _values import Numbers, scaled, trace

from edgepipe.stage import Context, Field, Stage


class Double(Stage):
    """Every number times a factor."""

    inputs = {"values": Numbers}
    outputs = {"values": Numbers}
    seeded = False

    factor: float = Field(2.0, gt=0, lt=1e6, description="to multiply with")

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        ctx.save("values", scaled(ctx.input("values"), self.factor))
        trace(ctx, "end")
