"""Runs, and `cache push` and `pull`, with a remote."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from projects import Folder
from remotes import (
    TEAM_KEY,
    bucket,
    result,
)

from edgepipe.cli import _remote
from edgepipe.errors import ConfigError, EdgepipeError
from edgepipe.remote import RemoteError
from edgepipe.store import Store


def cli(verb: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    getattr(_remote, f"configure_{verb}")(parser)
    return parser.parse_args(arguments)


PIPELINE = """
edgepipe: 1
name: p
stages:
  first: {uses: numbers}
  twice: {uses: double, in: {values: first}}
  again: {uses: double, in: {values: twice}}
  other: {uses: numbers, with: {count: 9}}
"""


def test_the_second_clone_runs_nothing(
    project: Folder, tmp_path: Path, s3: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = bucket(s3)
    project.write("edgepipe.toml", f"[remote]\nurl = '{url}'\nendpoint = '{s3}'\n")
    project.write("p.yaml", PIPELINE)
    assert project.edgepipe("run", "p.yaml").code == 0
    assert len(project.trace()) == 4
    assert _remote.push(cli("push", "p.yaml", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    # The run has uploaded them.
    assert (said["uploaded"], said["there"], said["failed"]) == (0, 4, 0)
    assert said["remote"] == url
    # A colleague, with a cache of their own.
    (project.path / "trace.jsonl").unlink()
    other = project.edgepipe("run", "p.yaml", "--json", "--cache", tmp_path / "other")
    assert {node["status"] for node in other.json["nodes"]} == {"cached"}
    assert project.trace() == []
    cache = tmp_path / "colleague"
    assert _remote.pull(cli("pull", "p.yaml", "--cache", str(cache))) == 0
    assert capsys.readouterr().out.startswith(f"4 pulled, 0 there already ({url}; down 4 results")
    done = project.edgepipe("run", "p.yaml", "--json", "--cache", cache)
    assert done.code == 0
    assert {node["status"] for node in done.json["nodes"]} == {"cached"}
    assert project.trace() == []
    assert _remote.pull(cli("pull", "p.yaml", "--cache", str(cache), "--json")) == 0
    assert json.loads(capsys.readouterr().out)["there"] == 4


def test_pull_goes_as_far_as_the_remote_does(
    project: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    project.write("p.yaml", PIPELINE)
    assert project.edgepipe("run", "p.yaml", "--until", "twice").code == 0
    assert _remote.push(cli("push", "p.yaml")) == 0
    cache = str(tmp_path / "colleague")
    planned = project.edgepipe("plan", "p.yaml", "--cache", cache)
    assert {tuple(line.split()[:2]) for line in planned.out.splitlines()[:4]} == {
        ("remote", "first"),
        ("remote", "twice"),
        ("runs", "again"),
        ("runs", "other"),
    }
    assert "0 cached, 2 to fetch, 2 to run" in planned.out
    assert not (tmp_path / "colleague" / "records").exists()
    assert _remote.pull(cli("pull", "p.yaml", "--cache", cache, "--json")) == 0
    said = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (said["pulled"], said["missing"]) == (2, 2)


def test_push_and_pull_without_a_pipeline(
    project: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    store = Store(project.cache)
    records = [result(store, name) for name in "abc"]
    assert _remote.push(cli("push", records[0].key[:12], records[1].key)) == 0
    assert capsys.readouterr().out.startswith("2 uploaded, 0 there already")
    assert _remote.push(cli("push")) == 0
    assert capsys.readouterr().out.startswith("1 uploaded, 2 there already")
    cache = tmp_path / "colleague"
    assert _remote.pull(cli("pull", "--cache", str(cache))) == 0
    assert list(Store(cache).records.keys()) == sorted(record.key for record in records)
    with pytest.raises(ConfigError, match="no key that begins with 'abcdefabcdef'"):
        _remote.push(cli("push", "abcdefabcdef"))


def test_what_is_not_whole_is_said(project: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    store = Store(project.cache)
    one, two = result(store, "a"), result(store, "b")
    store.object_path(one.outputs["out"].tree).unlink()
    assert _remote.push(cli("push")) == 0
    assert capsys.readouterr().out.startswith(
        "1 uploaded, 0 there already, 1 not whole in the cache ("
    )
    assert _remote.push(cli("push", one.key)) == 1
    assert _remote.push(cli("push", two.key)) == 0


def test_progress_is_shown_on_a_terminal(project: Folder) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    result(Store(project.cache), "a")
    code = (
        "import argparse, sys\nfrom edgepipe.cli import _remote\np = argparse.ArgumentParser()\n"
        "_remote.configure_push(p)\nsys.exit(_remote.push(p.parse_args([])))\n"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert shown.startswith("\r\x1b[Kpushed 0 of 1: down nothing; up ")
    assert shown.endswith("\r\x1b[K")
    assert done.stdout.startswith(b"1 uploaded, 0 there already")


def test_push_and_pull_need_a_remote_that_can_be_used(project: Folder) -> None:
    with pytest.raises(ConfigError, match="the project has no remote"):
        _remote.push(cli("push"))
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\nrequire_signed = true\n")
    with pytest.raises(EdgepipeError, match="its records have to be signed"):
        _remote.pull(cli("pull"))
    project.write("edgepipe.toml", "[remote]\nurl = 'https://127.0.0.1:9/x'\n")
    with pytest.raises(RemoteError, match="for reading only"):
        _remote.push(cli("push"))
    project.write("edgepipe.toml", "[remote]\nurl = '/nowhere/at/all'\n")
    with pytest.raises(RemoteError, match="there is no such folder"):
        _remote.pull(cli("pull"))
    result(Store(project.cache), "a")
    assert _remote.push(cli("push")) == 1


@pytest.mark.parametrize("how", ["pull", "run", "import"])
def test_what_came_unsigned_is_not_signed(
    project: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    project.write("p.yaml", PIPELINE)
    assert project.edgepipe("run", "p.yaml", "--until", "first").code == 0
    (record,) = map(json.loads, _bodies(tmp_path / "team"))
    # Without a key, nobody can tell.
    forged = {**record["record"], "metrics": {"total": 99.0, "share": 0.03}}
    path = tmp_path / "team" / "records" / forged["key"][:2] / forged["key"][2:]
    path.unlink()
    path.write_text(json.dumps({**record, "record": forged}))
    cache = tmp_path / "colleague"
    here = ("--cache", cache)
    if how == "import":
        assert project.edgepipe("cache", "pull", "--cache", tmp_path / "between").code == 0
        tar = tmp_path / "x.tar"
        exported = project.edgepipe("cache", "export", tar, "--cache", tmp_path / "between")
        assert exported.code == 0, exported.err
        assert project.edgepipe("cache", "import", tar, *here).code == 0
    elif how == "pull":
        assert project.edgepipe("cache", "pull", *here).code == 0
    else:
        assert project.edgepipe("run", "p.yaml", "--until", "first", *here).code == 0
    # With one, what was made here is signed, and nothing else.
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", TEAM_KEY)
    assert project.edgepipe("run", "p.yaml", *here).code == 0
    pushed = project.edgepipe("cache", "push", *here)
    assert pushed.code == 0
    assert "0 uploaded, 3 there already, 1 left out that came unsigned (" in pushed.out
    assert (
        f"warning: a result came unsigned from {'the archive x.tar' if how == 'import' else ''}"
        in (pushed.err)
    )
    assert f"run it anew with --fresh to sign it (key {forged['key'][:12]})" in pushed.err
    assert json.loads(path.read_bytes())["hmac-sha256"] is None
    named = project.edgepipe("cache", "push", forged["key"], "--json", *here)
    assert (named.code, named.json["unsigned"]) == (1, 1)
    # Made here, it is signed, and replaces the other one.
    assert project.edgepipe("run", "p.yaml", "--fresh", "first", *here).code == 0
    signed = json.loads(path.read_bytes())
    assert signed["hmac-sha256"]
    assert signed["record"]["metrics"] == record["record"]["metrics"]
    assert "0 uploaded, 4 there already (" in project.edgepipe("cache", "push", *here).out
    # What a signature vouches for may be passed on.
    third = ("--cache", tmp_path / "third")
    assert project.edgepipe("cache", "pull", *third).code == 0
    path.unlink()
    assert "1 uploaded, 3 there already (" in project.edgepipe("cache", "push", *third).out


def test_without_a_key_what_came_unsigned_may_be_passed_on(project: Folder, tmp_path: Path) -> None:
    result(Store(tmp_path / "mine"), "a")
    for cache, team in (("mine", "team"), ("theirs", "team"), ("theirs", "mirror")):
        verb = "pull" if (cache, team) == ("theirs", "team") else "push"
        where = {"EDGEPIPE_REMOTE": str(tmp_path / team)}
        done = project.edgepipe("cache", verb, "--cache", tmp_path / cache, **where)
        assert done.out.startswith("1 pulled" if verb == "pull" else "1 uploaded"), done.err


def _bodies(team: Path) -> list[bytes]:
    return [path.read_bytes() for path in (team / "records").rglob("*") if path.is_file()]
