"""What a node left to go on from, and that is of other files than those of its key."""

from __future__ import annotations

import signal
import time

import pytest
from projects import Folder

SLOW = '''\
"""slow: reads a file, keeps that, and takes its time."""

import time
from pathlib import Path

from _values import Numbers, trace

from edgepipe.stage import Context, Stage, UserPath


class Slow(Stage):
    """Goes on from what it read."""

    outputs = {"values": Numbers}
    seeded = False

    path: UserPath

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        checkpoint = ctx.scratch / "checkpoint"
        while not Path("go").exists():
            time.sleep(0.02)
        if not checkpoint.exists():
            checkpoint.write_text(self.path.read_text())
        trace(ctx, "read")
        while not Path("end").exists():
            time.sleep(0.02)
        ctx.save("values", [float(checkpoint.read_text())])
'''


def wait_for(project: Folder, event: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(project.trace(event)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("interrupted", [True, False])
def test_checkpoints_of_an_edit_are_not_gone_on_with_once_it_is_taken_back(
    project: Folder, edited: bool, interrupted: bool
) -> None:
    slow = SLOW.replace('Path("go")', f"Path({str(project.path / 'go')!r})")
    project.write(
        "plugins/slow.py", slow.replace('Path("end")', f"Path({str(project.path / 'end')!r})")
    )
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: slow, with: {path: n}}}\n")
    project.write("n", "1")
    process = project.start("run", "p.yaml")
    wait_for(project, "start", 1)
    if edited:
        project.write("n", "2")
    project.write("go", "")
    wait_for(project, "read", 1)
    if interrupted:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    project.write("end", "")
    process.communicate(timeout=30)
    assert process.returncode == (130 if interrupted else 1 if edited else 0)
    kept = [path.name for path in (project.cache / "scratch").glob("*/*")]
    assert kept == (["checkpoint"] if interrupted and not edited else [])
    project.write("n", "1")
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.edgepipe("export", "s", "out").code == 0
    assert (project.path / "out" / "numbers.json").read_text(encoding="utf-8") == "[1.0]"
