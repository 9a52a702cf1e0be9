"""The child's side, in this process: what it sends, writes and leaves alone."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from projects import Folder

from edgepipe import worker
from edgepipe.executor import Job
from edgepipe.holding import Hold
from edgepipe.watch import tree_stamp, walk

Messages = list[dict[str, Any]]
Run = Callable[..., Messages]


@pytest.fixture
def run(project: Folder) -> Iterator[Run]:
    read, write = os.pipe()
    channel = worker._Channel(write)

    def run_job(how: str, **changes: object) -> Messages:
        folder = project.path / "job"
        outputs = {port: folder / port for port in ("values", "report")}
        for path in (*outputs.values(), folder / "scratch"):
            path.mkdir(parents=True, exist_ok=True)
        given: dict[str, Any] = {
            "node": "m",
            "module": "misbehave",
            "path": str(project.path / "plugins" / "misbehave.py"),
            "root": str(project.path / "plugins"),
            "plugin": True,
            "params": {"how": how, "seconds": 0.0},
            "inputs": {},
            "outputs": {port: str(path) for port, path in outputs.items()},
            "seed": 7,
            "threads": 1,
            "scratch": str(folder / "scratch"),
            "project": str(project.path),
            "log": str(folder / "log"),
            **changes,
        }
        worker.run(1, Job(**given), channel)
        return [json.loads(line) for line in os.read(read, 1 << 20).splitlines()]

    yield run_job
    os.close(read)
    channel._file.close()


def test_what_a_stage_does_is_told(run: Run, project: Folder) -> None:
    messages = run("warn")
    assert [message["name"] for message in messages] == ["begun", "progress", "warning", "done"]
    # What comes thick and fast is thinned out.
    assert messages[1]["data"] == {"done": 0, "total": 5, "numbers": {"loss": 1.0}}
    assert json.loads((project.path / "job" / "values" / "numbers.json").read_text()) == [1.0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("error", "the sky is falling"),
        ("exception", "KeyError: 'absent'"),
        ("sys_exit", "the stage ended its process: sys.exit(0)"),
        ("no_output", "the output 'values' is not valid: Numbers: numbers.json was not written"),
        ("memory", "memory ran out"),
        ("colors", "SystemError: \x1b[31mred\x1b[0m"),
    ],
)
def test_what_goes_wrong_is_told(run: Run, how: str, message: str) -> None:
    last = run(how)[-1]
    assert last["name"] == "error"
    assert last["data"]["message"] == message


@pytest.mark.parametrize("edited", [True, False])
def test_checkpoints_of_edited_data_are_gone_before_another_run_may_have_them(
    run: Run, project: Folder, edited: bool
) -> None:
    project.write(
        "plugins/keeps.py",
        "from edgepipe.stage import Context, Folder, Stage\n\n\nclass Keeps(Stage):\n"
        "    '''Leaves a checkpoint.'''\n\n    outputs = {'out': Folder}\n\n"
        "    def run(self, ctx: Context) -> None:\n"
        "        (ctx.scratch / 'checkpoint').touch()\n"
        f"        {'(ctx.project / str(1)).write_text(str(2))' if edited else ''}\n"
        "        raise RuntimeError('it ends')\n",
    )
    data = str(project.write("1", "1"))
    seen = tree_stamp((name, info) for name, _, info in walk(data, set()))
    run(
        "",
        module="keeps",
        path=str(project.path / "plugins" / "keeps.py"),
        params={},
        outputs={"out": str(project.path / "job" / "out")},
        watched={"data": {"path": [data, seen]}},
    )
    kept = [path.name for path in (project.path / "job" / "scratch").glob("*")]
    assert kept == ([] if edited else ["checkpoint"])


def test_checkpoints_of_another_run_stay(run: Run, project: Folder) -> None:
    project.write(
        "plugins/edits.py",
        "from edgepipe.stage import Context, Folder, Stage\n\n\nclass Edits(Stage):\n"
        '    """Has its data edited."""\n\n    outputs = {\'out\': Folder}\n\n'
        "    def run(self, ctx: Context) -> None:\n"
        "        (ctx.project / '1').write_text('2')\n",
    )
    data = str(project.write("1", "1"))
    seen = tree_stamp((name, info) for name, _, info in walk(data, set()))
    kept = project.write("job/scratch/checkpoint", "")
    other = Hold()
    assert other.take(str(kept.parent), 0.0)
    run(
        "",
        module="edits",
        path=str(project.path / "plugins" / "edits.py"),
        params={},
        outputs={"out": str(project.path / "job" / "out")},
        watched={"data": {"path": [data, seen]}},
    )
    other.release()
    assert (project.path / "1").read_text() == "2"
    assert kept.exists()


def test_a_full_disk_is_told_as_that(run: Run, project: Folder) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    project.write(
        "plugins/full.py",
        "from edgepipe.stage import Context, Folder, Stage\n\n\nclass Full(Stage):\n"
        "    '''Fills the disk.'''\n\n    outputs = {'out': Folder}\n\n"
        "    def run(self, ctx: Context) -> None:\n"
        "        with open('/dev/full', 'w', buffering=1) as file:\n"
        "            file.write('x' * 100_000)\n",
    )
    path = str(project.path / "plugins" / "full.py")
    last = run("not", module="full", path=path, params={}, outputs={"out": "/nowhere"})[-1]
    assert last["data"]["message"].startswith("the disk is full")


def test_a_log_that_cannot_be_written_is_told_as_that(run: Run, project: Folder) -> None:
    log = project.path / "gone" / "log"
    last = run("warn", log=str(log))[-1]
    assert last["name"] == "error"
    assert last["data"]["message"] == (
        f"its log cannot be written: {log}: no such file or directory"
    )
    assert not any((project.path / "job" / "values").iterdir())
    assert run("warn")[-1]["name"] == "done"


def test_a_log_for_which_there_is_no_room_is_a_full_disk(
    run: Run, project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, log = os.open, str(project.path / "log")

    def full(path: Any, *rest: Any, **more: Any) -> int:
        # As where a file system has no inode left.
        if path == log:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", full)
    assert run("warn", log=log)[-1]["data"]["message"] == f"the disk is full: {log}"


def test_what_is_written_past_python_goes_to_the_log_and_only_there(
    run: Run, project: Folder, capfd: pytest.CaptureFixture[str]
) -> None:
    os.write(2, b"before\n")
    run("print")
    run("exception")
    os.write(2, b"after\n")
    assert capfd.readouterr().err.replace("Traceback", "").startswith("before\n")
    assert (project.path / "job" / "log").stat().st_size >= 64 << 16


def test_jobs_come_as_lines(project: Folder) -> None:
    """A process is told a job, does it, and ends when nobody is left to tell it more."""
    import subprocess

    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgepipe.worker", str(write)],
        stdin=subprocess.PIPE,
        pass_fds=(write,),
        start_new_session=True,
    )
    os.close(write)
    assert process.stdin is not None
    timer = threading.Timer(20, process.kill)
    timer.start()
    process.stdin.close()
    assert process.wait() == -9
    timer.cancel()
    assert os.read(read, 10) == b""
    os.close(read)


def test_a_relative_import_while_a_stage_runs_is_explained(run: Run, project: Folder) -> None:
    path = project.path / "plugins/misbehave.py"
    text = path.read_text()
    start = text.index("\n", text.index("def run(self"))
    path.write_text(f"{text[:start]}\n        from ._helper import f{text[start:]}")
    data = run("warn")[-1]["data"]
    assert data["message"] == (
        "a plug-in has no relative imports: name the helper as seen from the plug-ins' folder"
    )
    assert data["hint"].startswith(f"raised at {path}:")
