"""foreign: a stage that runs in an environment of its own."""

from __future__ import annotations

import json

from _values import Numbers

from edgepipe.stage import Context, Field, Metrics, Params, Stage


class Group(Params):
    """A group."""

    names: tuple[str, ...] = Field((), description="a list in YAML, a tuple here")


class Foreign(Stage):
    """Say where it runs."""

    inputs = {}
    outputs = {"values": Numbers, "report": Metrics}
    requires = ("tinylib",)
    environment = "tiny"

    rate: float = Field(1.0, ge=0, le=9, description="a number")
    group: Group = Field(Group(), description="more")

    def run(self, ctx: Context) -> None:
        import sys
        from importlib.util import find_spec

        import tinylib

        seen = {
            "prefix": sys.prefix,
            "version": tinylib.VERSION,
            "path": sys.path,
            "ours": [n for n in ("pydantic", "blake3", "rich", "numpy") if find_spec(n)],
            "names": repr(self.group.names),
            "python": list(sys.version_info[:2]),
        }
        (ctx.project / "seen.json").write_text(json.dumps(seen))
        ctx.save("values", [self.rate, tinylib.value()])
        ctx.save("report", {"total": self.rate})
