"""The tool or a worker is killed, or told to stop: what is finished is kept, nothing lives on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from projects import Folder, alive

from edgepipe.executor import Job

PIPELINE = """
edgepipe: 1
name: p
stages:
  first: {uses: numbers}
  slow: {uses: misbehave, in: {values: first}, with: {how: HOW, seconds: SECONDS}}
  last: {uses: double, in: {values: slow}}
"""


def pipeline(project: Folder, how: str = "not", seconds: float = 0) -> None:
    project.write("p.yaml", PIPELINE.replace("HOW", how).replace("SECONDS", str(seconds)))


def wait_for(condition: Callable[[], object], within: float = 20) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=20)
    return process.returncode, out.decode(), err.decode()


def staged(project: Folder) -> list[Path]:
    folder = project.cache / "tmp"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_the_tool_is_killed_and_the_same_command_goes_on(project: Folder) -> None:
    pipeline(project, "grandchildren")
    process = project.start("run", "p.yaml")
    wait_for(lambda: (project.path / "pids").exists() and (project.path / "pids").read_text())
    pids = [int(pid) for pid in (project.path / "pids").read_text().split()]
    process.kill()
    end(process)
    # The stage and what it started end by themselves.
    wait_for(lambda: not any(map(alive, pids)))
    assert project.trace() == ["first", "slow"]
    # Nobody can publish for it: only the finished node is found.
    planned = project.edgepipe("plan", "p.yaml", "--json").json["nodes"]
    assert [node["status"] for node in planned] == ["cached", "runs", "runs"]
    pipeline(project)
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.trace() == ["first", "slow", "slow", "last"]


@pytest.mark.parametrize("moment", random.Random(7).sample(range(20, 700), 5))
def test_the_tool_is_killed_at_any_moment(project: Folder, moment: int) -> None:
    pipeline(project, "not", 0.1)
    process = project.start("run", "p.yaml")
    time.sleep(moment / 1000)
    process.kill()
    end(process)
    finished = project.trace("end")
    assert project.edgepipe("run", "p.yaml").code == 0
    # The last that had finished may have been about to be published.
    again = project.trace("end")[len(finished) :]
    assert not set(finished[:-1]) & set(again)
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0


def test_a_worker_is_killed_and_other_branches_finish(project: Folder) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  victim: {uses: misbehave, with: {how: hang}}\n"
        "  after: {uses: double, in: {values: victim}}\n"
        "  other: {uses: misbehave, with: {seconds: 1}}\n  more: {uses: double, in: {values: other}}\n",
    )
    process = project.start("run", "p.yaml", "--jobs", "2")
    wait_for(lambda: "victim" in project.trace())
    os.kill(next(e["pid"] for e in project.events() if e["node"] == "victim"), signal.SIGKILL)
    code, out, _ = end(process)
    assert code == 1
    assert "its process was killed (SIGKILL), by someone or because memory ran out" in out
    assert project.trace("end") == ["other", "more"]
    assert staged(project) == []


def test_a_checkpoint_survives_the_kill_of_its_node(project: Folder) -> None:
    pipeline(project, "checkpoint")
    assert project.edgepipe("run", "p.yaml").code == 1
    assert list((project.cache / "scratch").iterdir())
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.trace("half way") == ["slow"]
    assert project.trace().count("first") == 1
    assert not list((project.cache / "scratch").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_children_and_keeps_what_is_finished(
    project: Folder, number: signal.Signals
) -> None:
    pipeline(project, "grandchildren")
    process = project.start("run", "p.yaml", "--json")
    wait_for(lambda: (project.path / "pids").exists() and (project.path / "pids").read_text())
    process.send_signal(number)
    code, out, err = end(process)
    assert code == 130
    assert "Traceback" not in err
    assert '"status": "interrupted"' in out
    pids = [int(pid) for pid in (project.path / "pids").read_text().split()]
    wait_for(lambda: not any(map(alive, pids)))
    assert staged(project) == []
    assert '"interrupted"' in project.edgepipe("show", "--json").out
    pipeline(project)
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.trace().count("first") == 1


def test_a_second_interrupt_is_enough_for_what_will_not_end(project: Folder) -> None:
    project.write(
        "plugins/stubborn.py",
        "import signal\nimport time\n\nfrom _values import trace\n\n"
        "from edgepipe.stage import Context, Folder, Stage\n\n\nclass Stubborn(Stage):\n"
        "    '''Will not end.'''\n\n    outputs = {'out': Folder}\n\n"
        "    def run(self, ctx: Context) -> None:\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        trace(ctx, 'start')\n        time.sleep(600)\n",
    )
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: stubborn}}\n")
    # SIGTERM can be caught only in the main thread, where stages run.
    process = project.start("run", "p.yaml")
    wait_for(lambda: project.trace() == ["s"])
    pid = project.events()[0]["pid"]
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = end(process)
    assert time.monotonic() - began < 3
    assert code == 130
    assert "Traceback" not in err
    wait_for(lambda: not alive(pid))


def test_runs_at_once_do_each_stage_once(project: Folder) -> None:
    pipeline(project, "not", 0.3)
    processes = [project.start("run", "p.yaml") for _ in range(3)]
    assert [end(process)[0] for process in processes] == [0, 0, 0]
    assert sorted(project.trace()) == ["first", "last", "slow"]
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0
    assert staged(project) == []


def test_folders_that_share_a_cache_do_each_stage_once(project: Folder, tmp_path: Path) -> None:
    pipeline(project, "not", 0.5)
    other = Folder(tmp_path / "clone")
    shutil.copytree(project.path, other.path)
    processes = [folder.start("run", "p.yaml", "--plain") for folder in (project, other)]
    ended = [end(process) for process in processes]
    assert [code for code, _, _ in ended] == [0, 0]
    assert sorted(project.trace() + other.trace()) == ["first", "last", "slow"]


def test_who_waits_takes_over_from_a_run_that_is_killed(project: Folder, tmp_path: Path) -> None:
    pipeline(project, "not", 2)
    other = Folder(tmp_path / "clone")
    shutil.copytree(project.path, other.path)
    first = project.start("run", "p.yaml")
    wait_for(lambda: "slow" in project.trace())
    second = other.start("run", "p.yaml", "--plain")
    assert second.stdout is not None
    said = b""
    while b"another run is making it" not in said:
        line = second.stdout.readline()
        assert line, "it ended without having waited"
        said += line
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    code, _, _ = end(second)
    assert code == 0
    assert other.trace() == ["slow", "last"]


def killed_when(project: Folder, patch: str) -> None:
    """Run the pipeline in a process that kills itself where ``patch`` calls kill()."""
    program = (
        "import os, signal, sys\n"
        "def kill(*arguments): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{patch}\n"
        "from edgepipe.cli import main\n"
        "sys.exit(main(['run', 'p.yaml']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=project.path, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_run_that_is_recorded_has_its_report(project: Folder) -> None:
    pipeline(project)
    killed_when(project, "from edgepipe.cli import run\nrun._write_page = kill")
    done = project.edgepipe("run", "p.yaml")
    assert done.code == 0
    assert (project.path / done.out.rpartition("report: ")[2].strip()).is_file()


@pytest.mark.parametrize("file", ["state/files.json", "state/last.json", "run.json", "/noop/"])
def test_a_file_that_was_being_replaced_leaves_nothing(project: Folder, file: str) -> None:
    pipeline(project)
    # What was written just now is not remembered yet.
    time.sleep(0.1)
    killed_when(
        project,
        "rename = os.rename\n"
        f"os.rename = lambda a, b: kill() if {file!r} in str(b) else rename(a, b)",
    )

    def partial() -> list[Path]:
        return [p for root in (project.path, project.cache) for p in root.rglob("*.partial")]

    assert len(partial()) == 1
    assert project.edgepipe("run", "p.yaml").code == 0
    assert partial() == []


def test_a_killed_save_of_a_run_whose_like_is_recorded_leaves_nothing(project: Folder) -> None:
    pipeline(project)
    assert project.edgepipe("run", "p.yaml").code == 0
    shutil.rmtree(project.cache)
    killed_when(
        project,
        "rename = os.rename\n"
        "os.rename = lambda a, b: kill() if 'run.json' in str(b) else rename(a, b)",
    )
    assert project.edgepipe("run", "p.yaml").code == 0
    assert list(project.path.rglob("*.partial")) == []


def test_a_worker_whose_tool_is_dead_ends_without_a_word(project: Folder) -> None:
    pipeline(project)
    read, write = os.pipe()
    os.close(read)
    worker = subprocess.Popen(
        [sys.executable, "-m", "edgepipe.worker", str(write)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(write,),
        start_new_session=True,
    )
    os.close(write)
    job = Job(
        node="m",
        module="misbehave",
        path=str(project.path / "plugins" / "misbehave.py"),
        root=str(project.path / "plugins"),
        plugin=True,
        params={},
        inputs={},
        outputs={},
        seed=7,
        threads=1,
        scratch=str(project.path / "scratch"),
        project=str(project.path),
        log=str(project.path / "log"),
    )
    # Its input stays open: another child of the tool may hold it for a moment.
    assert worker.stdin is not None
    worker.stdin.write(json.dumps([1, asdict(job)]).encode() + b"\n")
    worker.stdin.flush()
    assert worker.wait(20) == -signal.SIGKILL
    assert worker.stderr is not None
    assert worker.stderr.read() == b""
    worker.stdin.close()
    worker.stderr.close()
