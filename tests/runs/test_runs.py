"""``edgepipe runs``: list, show, compare and remove."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from projects import Folder

from edgepipe import runs
from edgepipe.results import NodeResult, OutputResult, RunResult
from edgepipe.runs.rundiff import compare

PIPELINE = """
edgepipe: 1
name: p
stages:
  first: {uses: numbers, with: {count: COUNT}}
  last: {uses: double, in: {values: first}}
"""


def run(project: Folder, count: int, factor: int = 2) -> str:
    project.write("p.yaml", PIPELINE.replace("COUNT", str(count)))
    done = project.edgepipe("run", "p.yaml", "--json", "--set", f"last.with.factor={factor}")
    assert done.code == 0
    return str(done.json["id"])


def test_ls_shows_the_newest_first(project: Folder) -> None:
    assert "no run is recorded in" in project.edgepipe("runs", "ls").out
    ids = [run(project, 5), run(project, 5, 3), run(project, 6)]
    rows = project.edgepipe("runs", "ls", "--json").json["runs"]
    assert [row["id"] for row in rows] == ids[::-1]
    assert [(row["ran"], row["cached"], row["failed"]) for row in rows] == [
        (2, 0, 0),
        (1, 1, 0),
        (2, 0, 0),
    ]
    assert {row["status"] for row in rows} == {"done"}
    lines = project.edgepipe("runs", "ls").out.splitlines()
    assert lines[0].split() == ["run", "status", "took", "ran", "cached", "failed"]
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]
    (project.path / ".edgepipe" / "runs" / ids[0] / "run.json").write_text("{")
    assert "unreadable" in project.edgepipe("runs", "ls").out


def test_show_is_the_verb_show(project: Folder) -> None:
    run(project, 5)
    assert project.edgepipe("runs", "show").out == project.edgepipe("show").out
    assert project.edgepipe("runs", "show", "--json").out == project.edgepipe("show", "--json").out


def test_diff_of_two_real_runs(project: Folder) -> None:
    first, second = run(project, 5), run(project, 6)
    found = project.edgepipe("runs", "diff", first, second, "--json").json
    assert (found["a"]["id"], found["b"]["id"]) == (first, second)
    assert found["run"] == {}
    node = found["nodes"]["first"]
    assert node["params"] == {"count": {"a": 5, "b": 6}}
    assert node["metrics"]["total"] == {"a": 10.0, "b": 15.0, "difference": 5.0, "unit": "number"}
    assert node["metrics"]["share"]["unit"] == "fraction"
    assert node["outputs"]["values"]["a"]["digest"] != node["outputs"]["values"]["b"]["digest"]
    assert set(found["nodes"]["last"]["outputs"]) == {"values"}
    text = project.edgepipe("runs", "diff", first, second).out
    assert "5.00 %  6.00 %  +1.00 %" in " ".join(text.split("share")[1].split()).replace(
        " % ", " %  "
    )
    same = project.edgepipe("runs", "diff", first, first).out
    assert same.rstrip().endswith("2 nodes the same")


def result(name: str, *nodes: NodeResult, **facts: Any) -> RunResult:
    values = {"pipeline": "p", "file": "p.yaml", "started": "2026", "seconds": 1.0}
    return RunResult(
        **{**values, "status": "done", "seed": 1, "gates": (), **facts}, id=name, nodes=nodes
    )


def test_what_only_one_run_has() -> None:
    out = OutputResult("Model", "ab" * 32, 1000)
    a = result(
        "a",
        NodeResult("gone", "numbers", "ran", params={"x": {"y": 1}}),
        NodeResult("same", "numbers", "ran", seconds=1.0, metrics={"m": 1.0}),
        NodeResult(
            "bench", "b", "ran", metrics={"latency": 0.002, "old": 1}, units={"latency": "s"}
        ),
        versions={"torch": "1"},
    )
    b = result(
        "b",
        NodeResult("same", "numbers", "cached", seconds=9.0, metrics={"m": 1.0}),
        NodeResult("new", "numbers", "ran", outputs={"model": out}),
        NodeResult("bench", "b", "ran", metrics={"latency": 0.001}, units={"latency": "s"}),
        versions={"torch": "2"},
        seed=2,
    )
    found = compare(a, b)
    assert found["same"] == ["same"]
    assert found["run"] == {"seed": {"a": 1, "b": 2}, "versions.torch": {"a": "1", "b": "2"}}
    assert {name: node["status"] for name, node in found["nodes"].items()} == {
        "gone": "only a",
        "bench": "both",
        "new": "only b",
    }
    assert found["nodes"]["gone"]["params"] == {
        "uses": {"a": "numbers", "b": None},
        "x.y": {"a": 1, "b": None},
    }
    latency = found["nodes"]["bench"]["metrics"]["latency"]
    assert latency == {"a": 0.002, "b": 0.001, "difference": -0.001, "unit": "s"}
    assert found["nodes"]["bench"]["metrics"]["old"]["difference"] is None
    assert found["nodes"]["new"]["outputs"]["model"]["a"] is None


def test_rm_removes_runs_and_gc_then_frees_what_they_held(project: Folder) -> None:
    ids = [run(project, count) for count in (5, 6, 7)]
    assert project.edgepipe("runs", "rm", ids[0], "--dry-run").out.startswith(ids[0])
    assert len(runs.listed(project.path / ".edgepipe" / "runs")) == 3
    done = project.edgepipe("runs", "rm", ids[0])
    assert done.out == f"{ids[0]}\n1 run removed\n"
    assert not (project.path / ".edgepipe" / "runs" / ids[0]).exists()
    assert len(project.edgepipe("cache", "gc", "--json").json["records"]) == 2
    assert project.edgepipe("runs", "rm", "--keep", "1", "--json").json["removed"] == [ids[1]]
    assert runs.listed(project.path / ".edgepipe" / "runs") == [ids[2]]
    assert project.edgepipe("runs", "rm", "--keep", "1").out == "0 runs removed\n"
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rm"], "say which runs to remove"),
        (["rm", "x", "--keep", "1"], "say which runs to remove"),
        (["rm", "--keep", "-1"], "--keep must be at least 0"),
        (["rm", "absent"], "there is no run 'absent'"),
        (["diff", "absent"], "there is no run 'absent'"),
        (["show", "absent"], "there is no run 'absent'"),
    ],
)
def test_wrong_arguments(project: Folder, arguments: list[str], message: str) -> None:
    run(project, 5)
    done = project.edgepipe("runs", *arguments)
    assert done.code == 2
    assert message in done.err


def test_ls_says_what_a_kill_left(project: Folder) -> None:
    (project.path / ".edgepipe/runs/killed-1/logs").mkdir(parents=True)
    said = "without a result, since they go on or were killed: killed-1"
    assert project.edgepipe("runs", "ls").out.splitlines()[1:] == [said]
    run(project, 5)
    assert project.edgepipe("runs", "ls").out.splitlines()[2:] == [said]


def test_rm_removes_what_a_kill_left_but_no_run_that_goes_on(project: Folder) -> None:
    text = "  a: {uses: misbehave, with: {seconds: 60}}\n"
    project.write("slow.yaml", f"edgepipe: 1\nname: slow\nstages:\n{text}")
    folder = project.path / ".edgepipe/runs"
    process = project.start("run", "slow.yaml")
    try:
        while not project.trace():
            assert process.poll() is None
            time.sleep(0.02)
        (name,) = runs.unfinished(folder)
        (folder / "20200101-000000000-p-0000" / "logs").mkdir(parents=True)
        for more in ((), ("--dry-run",)):
            done = project.edgepipe("runs", "rm", "20200101-000000000-p-0000", name, *more)
            assert (done.code, done.out) == (2, "")
            assert done.err == f"error: the run {name} goes on\n  remove it when it has ended\n"
        assert len(runs.unfinished(folder)) == 2
        (folder / "20200101-000000000-p-0000" / "logs").rmdir()
        (folder / "20200101-000000000-p-0000").rmdir()
        assert project.edgepipe("runs", "rm", "--keep", "0").out == "0 runs removed\n"
        assert (folder / name / "logs").is_dir()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert project.edgepipe("runs", "rm", name[-4:], "--dry-run").out.startswith(name)
    assert project.edgepipe("runs", "rm", name[-4:]).out == f"{name}\n1 run removed\n"
    assert list(folder.iterdir()) == []


def test_rm_keeps_what_was_killed_after_the_runs_that_stay(project: Folder) -> None:
    ids = [run(project, count) for count in (5, 6)]
    folder = project.path / ".edgepipe/runs"
    early, late = "20200101-000000000-p-0000", "20990101-000000000-p-0000"
    for name in (early, late):
        (folder / name / "logs").mkdir(parents=True)
    assert runs.old(folder, 2) == []
    assert runs.old(folder, 1) == [early, ids[0]]
    assert runs.old(folder, 0) == [early, *ids, late]


def test_a_run_that_is_refused_leaves_no_folder(project: Folder) -> None:
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {a: {uses: numbers, gpus: 9}}\n")
    assert project.edgepipe("run", "p.yaml").code == 2
    assert not (project.path / ".edgepipe" / "runs").exists()


def test_unfinished_runs_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "killed" / "logs").mkdir(parents=True)
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "run.json").write_text("{}")
    assert runs.unfinished(tmp_path) == ["killed"]
    assert runs.listed(tmp_path) == ["done"]
    assert runs.unfinished(tmp_path / "absent") == []


GATED = """\
edgepipe: 1
name: p
stages:
  some: {uses: numbers}
  more: {uses: double, in: {values: some}}
gates: ["some.total >= LEAST"]
"""


def test_a_gate_is_judged_anew_though_all_is_cached(project: Folder) -> None:
    def run(least: float, file: str = "p.yaml", *options: str) -> tuple[int, dict[str, Any]]:
        project.write(file, GATED.replace("LEAST", str(least)))
        done = project.edgepipe("run", file, "--json", *options)
        return done.code, done.json

    assert run(1)[0] == 0
    code, found = run(100)
    assert (code, found["status"]) == (3, "gate failed")
    assert found["gates"][0]["text"] == "some.total >= 100"
    assert run(1)[0] == 0
    # Another pipeline of the same name and nodes is not the one that ran.
    code, found = run(50, "q.yaml")
    assert (code, found["file"]) == (3, "q.yaml")
    assert run(1, "q.yaml")[1]["file"] == "q.yaml"
    assert run(1)[1]["file"] == "p.yaml"
    code, found = run(1, "p.yaml", "--set", "seed=9")
    assert (code, found["seed"]) == (0, 9)
    project.write("p.yaml", GATED.partition("gates")[0])
    assert project.edgepipe("run", "p.yaml", "--json").json["gates"] == []
    # Once for each seed.
    assert project.trace().count("some") == 2


def test_a_report_that_is_gone_is_made_again(project: Folder) -> None:
    project.write("p.yaml", GATED.replace("LEAST", "1"))
    for _ in range(3):
        done = project.edgepipe("run", "p.yaml")
        report = project.path / done.out.rpartition("report: ")[2].strip()
        assert report.is_file()
        report.unlink()
