"""A stage that the kernel kills for memory: said as that, with its peak; other nodes go on."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Folder, command

LIMIT = 400 << 20

PLUGIN = '''\
"""greedy: takes memory without end."""

from _values import Numbers

from edgepipe.stage import Context, Stage


class Greedy(Stage):
    """Takes all there is."""

    outputs = {"values": Numbers}

    def run(self, ctx: Context) -> None:
        taken = []
        while True:
            taken.append(bytearray(b"x" * (8 << 20)))
'''


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group that may hold `LIMIT` bytes of memory, of either version."""
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    home, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (new, "memory.max")
    folder = home / f"edgepipe-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(LIMIT))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    with contextlib.suppress(OSError):
        folder.rmdir()


def test_a_stage_that_is_killed_for_memory(project: Folder, group: Path) -> None:
    project.write("plugins/greedy.py", PLUGIN)
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  g: {uses: greedy}\n  n: {uses: numbers}\n"
        "  d: {uses: double, in: {values: n}}\n  after: {uses: double, in: {values: g}}\n",
    )
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", enter, "sh", *command("run", "p.yaml", "--plain")],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "its process was killed by the system, because memory ran out" in done.stdout
    assert "; it had taken " in done.stdout
    assert "run fewer nodes with --jobs" in done.stdout
    statuses = {
        node["name"]: node["status"] for node in project.edgepipe("show", "--json").json["nodes"]
    }
    assert statuses == {"g": "failed", "after": "skipped", "n": "ran", "d": "ran"}
