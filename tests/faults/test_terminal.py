"""The terminal of a run goes away: its window is closed, or the line to it breaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from projects import Folder, alive, command

PIPELINE = """
edgepipe: 1
name: p
stages:
  first: {uses: numbers}
  slow: {uses: misbehave, in: {values: first}, with: {how: HOW, seconds: 0.5}}
"""
ON_ITS_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("options", [[], ["--plain"], ["--json"]])
def test_a_run_whose_terminal_is_closed_ends_in_order(project: Folder, options: list[str]) -> None:
    project.write("p.yaml", PIPELINE.replace("HOW", "grandchildren"))
    terminal, its_end = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_ITS_TERMINAL, *command("run", "p.yaml", *options)],
        cwd=project.path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
    )
    os.close(its_end)
    told = project.path / "pids"
    wait_for(lambda: told.exists() and told.read_text())
    pids = [int(pid) for pid in told.read_text().split()]
    os.close(terminal)
    process.wait(30)
    assert not any(map(alive, pids))
    shown = project.edgepipe("show", "--json")
    assert shown.json.get("status") == "interrupted", shown
    assert list((project.cache / "tmp").iterdir()) == []
    project.write("p.yaml", PIPELINE.replace("HOW", "not"))
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.trace().count("first") == 1


def test_a_run_under_nohup_goes_on(project: Folder) -> None:
    project.write("p.yaml", PIPELINE.replace("HOW", "not"))
    process = subprocess.Popen(
        ["nohup", *command("run", "p.yaml", "--json")],
        cwd=project.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(lambda: "slow" in project.trace())
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert project.trace("start") == ["first", "slow"]
