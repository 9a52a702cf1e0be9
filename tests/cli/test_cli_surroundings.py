"""Terminals, pipes, and places that cannot be written."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from projects import Folder, command


def on_a_terminal(project: Folder, *arguments: object) -> tuple[int, str]:
    """Run the command on a terminal of its own; the exit code and what it showed."""
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command(*arguments),
        cwd=project.path,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):
        while piece := os.read(leader, 1 << 16):
            shown += piece
    os.close(leader)
    return process.wait(timeout=30), shown.decode()


def test_a_terminal_gets_a_board_and_a_run_without_work_needs_none(mini: Folder) -> None:
    code, shown = on_a_terminal(mini, "run", "mini.yaml")
    assert code == 0
    # The cursor moves only where a board is drawn.
    assert "\x1b[" in shown
    assert "double[3]" in shown
    code, shown = on_a_terminal(mini, "run", "mini.yaml")
    assert code == 0
    assert "\x1b[1A" not in shown
    assert "5 cached" in shown
    code, shown = on_a_terminal(mini, "run", "mini.yaml", "--fresh", "all", "--plain")
    assert code == 0
    assert "\x1b[1A" not in shown
    code, shown = on_a_terminal(mini, "validate", "nowhere.yaml")
    assert code == 2


def test_the_cache_can_be_named_in_three_ways(mini: Folder) -> None:
    mini.edgepipe("run", "mini.yaml", "--cache", "one")
    assert (mini.path / "one" / "records").is_dir()
    mini.edgepipe("run", "mini.yaml", EDGEPIPE_CACHE=str(mini.path / "two"))
    assert (mini.path / "two" / "records").is_dir()
    mini.write("edgepipe.toml", 'cache = "three"\n')
    mini.edgepipe("run", "mini.yaml", EDGEPIPE_CACHE="")
    assert (mini.path / "three" / "records").is_dir()
    assert len(mini.trace()) == 15
    assert not mini.cache.exists()


def test_a_place_that_cannot_be_written_is_no_traceback(mini: Folder) -> None:
    mini.write("file", "")
    done = mini.edgepipe("run", "mini.yaml", "--report", "file/below.html")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert done.err.startswith("error: file")
    done = mini.edgepipe("run", "mini.yaml", "--cache", "file/below")
    assert done.code == 1
    assert "not a directory" in done.out


@pytest.mark.parametrize("seconds", [0, 0.5])
def test_a_project_that_is_deleted_under_a_run_is_named(project: Folder, seconds: float) -> None:
    project.write(
        "p.yaml", "edgepipe: 1\nname: p\nstages: {a: {uses: misbehave, with: {seconds: 1}}}\n"
    )
    process = project.start("run", "p.yaml", "--plain")
    assert process.stdout is not None
    while b"  start  " not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(seconds)
    project.path.rename(project.path.with_name("moved"))
    shutil.rmtree(project.path.with_name("moved"))
    error = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 1
    assert error.startswith(f"error: {project.path}")
    assert error.endswith(": no such file or directory\n")


def test_output_that_nobody_reads_is_no_error(mini: Folder) -> None:
    command = f"{sys.executable} -m edgepipe schema | head -c 100"
    done = subprocess.run(["sh", "-c", command], cwd=mini.path, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_run_that_nobody_reads_any_more_ends_in_order(project: Folder) -> None:
    text = "".join(f"  n{i}: {{uses: misbehave, with: {{seconds: 0.{i + 1}}}}}\n" for i in range(8))
    project.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n{text}")
    process = project.start("run", "p.yaml", "--jobs", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    while b"  done  " not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    assert process.wait(timeout=30) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()
    listed = project.edgepipe("runs", "ls", "--json").json
    assert listed["unfinished"] == []
    assert [row["status"] for row in listed["runs"]] == ["interrupted"]
    shown = project.edgepipe("show", "--json").json["nodes"]
    assert {node["status"] for node in shown} == {"ran", "skipped"}
    assert project.edgepipe("run", "p.yaml").code == 0


def test_an_answer_that_nobody_reads_is_no_error(mini: Folder) -> None:
    for verb in ("run mini.yaml", "run mini.yaml", "show", "plan mini.yaml", "run mini.yaml"):
        if verb == "show":
            mini.edgepipe("run", "mini.yaml")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            command(*verb.split()),
            cwd=mini.path,
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("verb", [["run", "mini.yaml"], ["plan", "mini.yaml"], ["cache", "ls"]])
def test_a_cache_that_is_no_folder_is_said(mini: Folder, tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "cache")
    for name, what in (("file", "a file"), ("link", "a link that leads nowhere")):
        done = mini.edgepipe(*verb, "--cache", str(tmp_path / name))
        assert done.code == 2
        assert done.err.startswith(f"error: the cache {tmp_path / name} is {what}\n")
        assert "EDGEPIPE_CACHE" in done.err


@pytest.mark.parametrize("verb", [["run", "mini.yaml"], ["cache", "gc"], ["cache", "ls"]])
def test_a_projects_folder_is_no_cache(mini: Folder, verb: list[str]) -> None:
    before = sorted(p for p in mini.path.rglob("*") if "__pycache__" not in p.parts)
    done = mini.edgepipe(*verb, "--cache", ".")
    assert done.code == 2
    assert "is to be the cache, and is a project's: it holds '" in done.err
    assert sorted(p for p in mini.path.rglob("*") if "__pycache__" not in p.parts) == before


@pytest.mark.parametrize("module", ["edgepipe.cli._common", "edgepipe.cli.plan"])
def test_an_interrupt_while_modules_are_imported_shows_no_traceback(
    mini: Folder, module: str
) -> None:
    program = f"""
import sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from edgepipe.cli import main
sys.exit(main(["plan", "mini.yaml"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=mini.path, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("thread", ["", "daemon", "waited for"])
def test_the_end_of_the_process_loses_nothing(thread: str) -> None:
    program = f"""
import atexit, sys, threading, time
from edgepipe.cli import leave
atexit.register(lambda: print("registered"))
def late():
    time.sleep(0.2)
    print("a thread")
if {thread!r}:
    threading.Thread(target=late, daemon={thread == "daemon"}).start()
print("not flushed", end=", ")
sys.stderr.write("told")
leave(5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    late = "a thread\n" if thread == "waited for" else ""
    told = f"not flushed, {late}registered\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, told, "told")


def test_an_end_whose_output_nobody_takes_is_no_success() -> None:
    program = 'from edgepipe.cli import leave\nprint("to a full disk")\nleave(0)'
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            env=env,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def as_somebody(project: Folder, *arguments: object) -> str:
    """Run the command without root's right to read everything; what it says."""

    def give_up() -> None:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    libc = ctypes.CDLL(None)
    done = subprocess.run(
        command(*arguments),
        cwd=project.path,
        preexec_fn=give_up,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr.decode()


def test_what_may_not_be_read_is_said_with_how_to_read_it(mini: Folder) -> None:
    mini.edgepipe("run", "mini.yaml")
    objects = [path for path in (mini.cache / "objects").rglob("*") if path.is_file()]
    for path in objects:
        path.chmod(0)
    said = as_somebody(mini, "cache", "verify")
    assert any(
        f"error: {path}: permission denied\n  let yourself read it: chmod u+rX {path}\n" == said
        for path in objects
    )
    (mini.path / "mini.yaml").chmod(0)
    said = as_somebody(mini, "validate", "mini.yaml")
    assert "permission denied\n  let yourself read it: chmod u+r mini.yaml\n" in said
