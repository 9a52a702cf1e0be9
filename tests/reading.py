"""A project whose one stage reads a file and uses a helper's code, for tests of edits."""

from __future__ import annotations

import time

from projects import Folder

READER = '''\
"""reader: reads a file."""

import time
from pathlib import Path

from _double import twice
from _values import Numbers, trace

from edgepipe.stage import Context, Stage, UserPath


class Reader(Stage):
    """Reads a number from a file, and takes its time."""

    outputs = {"values": Numbers}
    seeded = False

    path: UserPath
    seconds: float = 0

    def run(self, ctx: Context) -> None:
        trace(ctx, "start")
        ctx.save("values", [twice(int(Path(self.path).read_text()))])
        time.sleep(self.seconds)
        trace(ctx, "end")
'''
HELPER = "def twice(number):\n    return number * 2\n"
LATE = READER.replace("from _double import twice\n", "").replace(
    "        ctx.save",
    "        time.sleep(self.seconds)\n        from _double import twice\n\n        ctx.save",
)
"""The same, but code is imported, and data is read, after the first half of its time."""


def pipeline(project: Folder, seconds: float = 0) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        f"  r: {{uses: reader, with: {{path: number.txt, seconds: {seconds}}}}}\n",
    )


def result(project: Folder) -> str:
    """What a run gives, and how many times the stage has run so far."""
    done = project.edgepipe("run", "p.yaml")
    assert done.code == 0, done.out + done.err
    out = project.path / "out"
    assert project.edgepipe("export", "r", str(out)).code == 0
    found = next(out.rglob("numbers.json")).read_text()
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return found


def started(project: Folder) -> None:
    deadline = time.monotonic() + 30
    while not project.trace():
        assert time.monotonic() < deadline
        time.sleep(0.02)
