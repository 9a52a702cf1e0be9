"""parameters: one of each type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from _values import Numbers

from edgepipe.stage import Context, Field, Params, Stage, UserCode, UserPath


class Options(Params):
    """A group."""

    rate: float = Field(0.1, gt=0, le=1, description="how fast")
    steps: int = Field(description="how many")
    names: tuple[str, ...] = Field((), description="of the classes")


class Parameters(Stage):
    """A stage with a parameter of each type."""

    outputs = {"values": Numbers}

    size: int = Field(description="width and height, in pixels", ge=8, le=512)
    depth: int = Field(3, ge=1, lt=10, description="number of layers")
    rate: float = Field(0.5, ge=0, le=1, description="share of the whole")
    shuffle: bool = Field(True, description="change the order")
    mode: Literal["fast", "exact"] = Field("fast", description="how to compute")
    title: str = Field("", max_length=20, description="for people")
    layers: list[int] = Field([], max_length=3, description="width of each layer")
    options: Options = Field(Options(steps=1), description="more of them")
    maybe: Options | None = Field(None, description="or none")
    extra: dict[str, int] = Field({}, description="anything")
    folder: UserPath | None = Field(None, description="the user's files")
    code: UserCode | None = Field(None, description="the user's function")

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        if self.mode == "exact" and self.depth > 5:
            yield "depth", "exact computation takes at most 5 layers", "or choose mode: fast"
        if self.size % 8:
            yield "", "the size must be a multiple of 8", f"like {self.size // 8 * 8}"

    def run(self, ctx: Context) -> None:
        ctx.save("values", [self.size])
