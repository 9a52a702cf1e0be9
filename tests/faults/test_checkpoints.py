"""What a node left to go on from, and that is of other files than those of its key."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from projects import Folder, alive

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
            import _late

            checkpoint.write_text(str(int(self.path.read_text()) * _late.FACTOR))
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


def is_over(run: Path) -> bool:
    return (run / "run.json").exists()


def begin_slow(project: Folder) -> subprocess.Popen[bytes]:
    """Start a run of `SLOW`, which waits before it reads."""
    slow = SLOW.replace('Path("go")', f"Path({str(project.path / 'go')!r})")
    project.write(
        "plugins/slow.py", slow.replace('Path("end")', f"Path({str(project.path / 'end')!r})")
    )
    project.write("plugins/_late.py", "FACTOR = 1\n")
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: slow, with: {path: n}}}\n")
    project.write("n", "1")
    process = project.start("run", "p.yaml")
    wait_for(project, "start", 1)
    return process


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("interrupted", [True, False])
def test_checkpoints_of_an_edit_are_not_gone_on_with_once_it_is_taken_back(
    project: Folder, edited: bool, interrupted: bool
) -> None:
    process = begin_slow(project)
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


STEPS = '''\
"""steps: imports a helper late, reads a file late, and keeps both for later, as trainings do."""

import time
from pathlib import Path

from _values import Numbers, trace

from edgepipe.stage import Context, Stage, UserPath

HERE = Path(FOLDER)


def wait(name: str) -> None:
    while not (HERE / name).exists():
        time.sleep(0.02)


class Steps(Stage):
    """Asks for its scratch folder at each checkpoint."""

    outputs = {"values": Numbers}
    seeded = False

    path: UserPath

    def run(self, ctx: Context) -> None:
        known = ctx.scratch / "checkpoint"
        trace(ctx, "start")
        if known.exists():
            value = float(known.read_text())
        else:
            wait("go")
            import _late

            value = float(self.path.read_text()) * _late.FACTOR
            trace(ctx, "read")
            wait("save")
            (ctx.scratch / "checkpoint").write_text(str(value))
        trace(ctx, "saved")
        wait("end")
        ctx.save("values", [value])
'''
LATE = "FACTOR = 10\n"


def begin(project: Folder) -> subprocess.Popen[bytes]:
    """Start a run; what is edited now is edited before it is read."""
    project.write("plugins/steps.py", STEPS.replace("FOLDER", repr(str(project.path))))
    project.write("plugins/_late.py", LATE)
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: steps, with: {path: n}}}\n")
    project.write("n", "1")
    process = project.start("run", "p.yaml")
    wait_for(project, "start", 1)
    return process


def kill_all(project: Folder, process: subprocess.Popen[bytes]) -> None:
    """At once, so that nobody can clear up."""
    workers = {event["pid"] for event in project.events()}
    for pid in (process.pid, *workers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    for pid in (*workers, process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=30)


def result_of_the_next_run(project: Folder) -> str:
    for name in ("go", "save", "end"):
        project.write(name, "")
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.edgepipe("export", "s", "out").code == 0
    return (project.path / "out" / "numbers.json").read_text(encoding="utf-8")


def test_a_checkpoint_of_edited_data_is_not_written(project: Folder) -> None:
    process = begin(project)
    project.write("n", "2")
    project.write("go", "")
    project.write("save", "")
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 1
    assert "the files of path changed while the node read them" in out
    assert project.trace("saved") == []


@pytest.mark.parametrize("edited", ["n", "plugins/_late.py"])
@pytest.mark.parametrize("back", [False, True])
def test_a_kill_of_all_processes_leaves_no_checkpoint_of_an_edit(
    project: Folder, edited: str, back: bool
) -> None:
    process = begin(project)
    before = (project.path / edited).read_text(encoding="utf-8")
    project.write(edited, before.replace("1", "3"))
    project.write("go", "")
    wait_for(project, "read", 1)
    if back:
        project.write(edited, before)
    project.write("save", "")
    if edited == "n":
        process.communicate(timeout=30)
    else:
        wait_for(project, "saved", 1)
        kill_all(project, process)
    project.write(edited, before)
    assert result_of_the_next_run(project) == "[10.0]"


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_code_that_is_edited_after_it_was_loaded_costs_no_checkpoint(
    project: Folder, how: str
) -> None:
    process = begin(project)
    # Longer than it takes the process to tell what it has loaded.
    time.sleep(0.5)
    project.write("plugins/steps.py", (project.path / "plugins/steps.py").read_text() + "# more\n")
    project.write("go", "")
    project.write("save", "")
    wait_for(project, "saved", 1)
    if how == "kill":
        kill_all(project, process)
    else:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert [p.name for p in (project.cache / "scratch").glob("*/*")] == ["checkpoint"]
    # It does not wait for this when it goes on.
    (project.path / "go").unlink()
    project.write("end", "")
    assert project.edgepipe("run", "p.yaml", timeout=30).code == 0


@pytest.mark.parametrize("edited", ["n", "plugins/_late.py", ""])
def test_a_worker_whose_tool_was_killed_drops_what_it_made_of_edited_files(
    project: Folder, edited: str
) -> None:
    process = begin_slow(project)
    before = (project.path / edited).read_text() if edited else ""
    if edited:
        project.write(edited, before.replace("1", "2"))
    project.write("go", "")
    wait_for(project, "read", 1)
    process.kill()
    process.communicate(timeout=30)
    (worker,) = {event["pid"] for event in project.events()}
    deadline = time.monotonic() + 30
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kept = [path.name for path in (project.cache / "scratch").glob("*/*")]
    assert kept == ([] if edited else ["checkpoint"])
    if edited:
        project.write(edited, before)
    assert result_of_the_next_run(project) == "[1.0]"


@pytest.mark.parametrize("edited", [True, False])
def test_who_takes_over_waits_for_what_a_killed_run_left_behind(
    project: Folder, edited: bool
) -> None:
    process = begin_slow(project)
    if edited:
        project.write("n", "2")
    project.write("go", "")
    wait_for(project, "read", 1)
    (worker,) = {event["pid"] for event in project.events()}
    # As if it took long to find out whether its files were edited.
    os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.wait(timeout=30)
    try:
        if edited:
            project.write("n", "1")
        project.write("end", "")
        second = project.start("run", "p.yaml")
        wait_for(project, "start", 2)
        time.sleep(0.5)
        assert len(project.trace("read")) == 1
    finally:
        os.kill(worker, signal.SIGCONT)
    for ended in (process, second):
        ended.communicate(timeout=30)
    assert second.returncode == 0
    (log,) = (run / "logs/s.log" for run in project.path.glob(".edgepipe/runs/*") if is_over(run))
    assert log.read_text() == "waiting for a process that a killed run left behind\n"
    assert project.edgepipe("export", "s", "out").code == 0
    assert (project.path / "out" / "numbers.json").read_text(encoding="utf-8") == "[1.0]"
