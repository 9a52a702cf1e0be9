"""misbehave: all that a stage should not do."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Literal

from _values import Numbers, trace

from edgepipe.stage import Context, Field, Metric, Metrics, Stage, StageError, optional


class Misbehave(Stage):
    """Fails in one of many ways."""

    inputs = {"values": optional(Numbers)}
    outputs = {"values": Numbers, "report": Metrics}
    metrics = {"total": Metric("number", "sum of all")}

    how: Literal[
        "not",
        "error",
        "exception",
        "sys_exit",
        "os_exit",
        "segv",
        "sigkill",
        "no_output",
        "only_one_output",
        "nan",
        "not_json",
        "colors",
        "link",
        "fifo",
        "print",
        "hang",
        "grandchildren",
        "own_session",
        "orphan_holds_pipe",
        "checkpoint",
        "fill_disk",
        "memory",
        "spoil",
        "warn",
    ] = Field("not", description="in which way")
    seconds: float = Field(0.0, ge=0, le=600, description="sleeps for so long before")

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        time.sleep(self.seconds)
        action = getattr(self, f"_{self.how}", None)
        if action is not None:
            action(ctx)
        if self.how not in {"no_output", "only_one_output", "not_json"}:
            ctx.save("report", {"total": float("nan") if self.how == "nan" else 1.0})
        if self.how != "no_output":
            ctx.save("values", [1.0])
        trace(ctx, "end")

    def _error(self, ctx: Context) -> None:
        ctx.log("about to fail")
        raise StageError("the sky is falling", "hold it up")

    def _exception(self, ctx: Context) -> None:
        print("before the exception")
        {}["absent"]

    def _sys_exit(self, ctx: Context) -> None:
        sys.exit(0)

    def _os_exit(self, ctx: Context) -> None:
        os._exit(0)

    def _segv(self, ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def _sigkill(self, ctx: Context) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _not_json(self, ctx: Context) -> None:
        (ctx.output("report") / "metrics.json").write_text("{")

    def _colors(self, ctx: Context) -> None:
        raise SystemError("\x1b[31mred\x1b[0m\nsecond line")

    def _link(self, ctx: Context) -> None:
        (ctx.output("values") / "link").symlink_to("/etc/passwd")

    def _fifo(self, ctx: Context) -> None:
        os.mkfifo(ctx.output("values") / "pipe")

    def _print(self, ctx: Context) -> None:
        for _ in range(64):
            print("x" * (1 << 16))
            os.write(2, b"y" * (1 << 16))

    def _hang(self, ctx: Context) -> None:
        time.sleep(600)

    def _own_session(self, ctx: Context) -> None:
        self._grandchildren(ctx, apart=True)

    def _grandchildren(self, ctx: Context, apart: bool = False) -> None:
        import subprocess

        child = subprocess.Popen(
            ["sh", "-c", "sleep 600 & echo $!; wait"],
            stdout=subprocess.PIPE,
            start_new_session=apart,
        )
        assert child.stdout is not None
        grandchild = child.stdout.readline().decode().strip()
        (ctx.project / "pids").write_text(f"{os.getpid()} {child.pid} {grandchild}")
        time.sleep(600)

    def _orphan_holds_pipe(self, ctx: Context) -> None:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        (ctx.project / "pids").write_text(f"{os.getpid()} {child}")
        os.kill(os.getpid(), signal.SIGKILL)

    def _checkpoint(self, ctx: Context) -> None:
        checkpoint = ctx.scratch / "checkpoint"
        if not checkpoint.exists():
            checkpoint.write_text("half way")
            os.kill(os.getpid(), signal.SIGKILL)
        trace(ctx, checkpoint.read_text())

    def _fill_disk(self, ctx: Context) -> None:
        with (ctx.output("values") / "big").open("wb") as file:
            for _ in range(64):
                file.write(b"z" * (1 << 20))

    def _spoil(self, ctx: Context) -> None:
        source = ctx.path("values")
        assert source
        file = source / "numbers.json"
        file.chmod(0o644)
        file.write_text("[6, 6, 6]")

    def _memory(self, ctx: Context) -> None:
        raise MemoryError

    def _warn(self, ctx: Context) -> None:
        for number in range(5):
            ctx.progress(number, 5, loss=1 / (number + 1))
        ctx.warn("look out")
        Path(ctx.scratch / "left over").write_text("x")
