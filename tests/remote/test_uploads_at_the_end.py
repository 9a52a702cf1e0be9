"""Uploads that are not over when the last node is: the run waits, says so, and can be ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from projects import Folder
from remotes import Asked, credentials, misbehaving

PIPELINE = """\
edgepipe: 1
name: p
stages:
  one: {uses: numbers, with: {count: 5}}
  two: {uses: double, in: {values: one}}
"""
TOML = '[remote]\nurl = "s3://bucket/cache"\nendpoint = "%s"\ntimeout = 30\n'


def nothing_there_and_slow(asked: Asked) -> None:
    if asked.method == "PUT":
        time.sleep(20)
    asked.head(404, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_while_it_uploads_is_recorded(
    project: Folder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    credentials(monkeypatch)
    project.write("p.yaml", PIPELINE)
    with misbehaving(nothing_there_and_slow) as (url, _):
        project.write("edgepipe.toml", TOML % url)
        process = project.start("run", "p.yaml", "--plain")
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[1:3] == [b"waits", b"cache"]:
                break
        assert b"2 results go to s3://bucket/cache; ^C ends the run without" in line
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=15)
    text = (out + err).decode()
    assert process.returncode == 130, text
    assert "Traceback" not in text
    assert "2 results were not uploaded to s3://bucket/cache: edgepipe cache push" in text
    project.write("edgepipe.toml", "")
    (run,) = project.edgepipe("runs", "ls", "--json").json["runs"]
    assert run["status"] == "interrupted"
    assert Path(project.path / ".edgepipe" / "runs" / run["id"] / "report.html").is_file()
    # All that was made is kept.
    again = project.edgepipe("run", "p.yaml", "--json")
    assert {node["status"] for node in again.json["nodes"]} == {"cached"}
