"""Verbs as a user calls them: what they print, exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mini_pipeline import PIPELINE
from projects import Folder


def test_validate(mini: Folder) -> None:
    mini.write("wrong.yaml", PIPELINE.replace("uses: numbers", "uses: nubmers"))
    mini.write("too.yaml", PIPELINE.replace("total.total", "total.totl"))
    before = mini.files()
    done = mini.edgepipe("validate", "mini.yaml")
    assert (done.code, done.out) == (0, "mini.yaml: right, 5 nodes, 2 gates\n")
    done = mini.edgepipe("validate", "wrong.yaml", "mini.yaml", "too.yaml")
    assert done.code == 2
    assert "wrong.yaml:6:19" in done.err
    assert "too.yaml:10:5" in done.err
    assert mini.files() == before
    found = mini.edgepipe("validate", "wrong.yaml", "--json")
    assert found.code == 2
    assert found.json["ok"] is False
    assert found.json["errors"][0]["line"] == 6
    assert mini.edgepipe("validate", "mini.yaml", "--json").json["ok"] is True


def test_plan_and_run_and_plan_again(mini: Folder) -> None:
    before = mini.files()
    planned = mini.edgepipe("plan", "mini.yaml", "--check")
    assert planned.code == 4
    assert "numbers" in planned.out
    assert planned.out.endswith("0 cached, 5 to run\n")
    assert {k for k in mini.files() if ".edgepipe/state" not in k} == set(before)
    ran = mini.edgepipe("run", "mini.yaml")
    assert ran.code == 0, ran.err
    assert sorted(mini.trace()) == ["double[2]", "double[3]", "numbers", "total[2]", "total[3]"]
    again = mini.edgepipe("run", "mini.yaml")
    assert again.code == 0
    assert len(mini.trace()) == 5
    assert mini.edgepipe("plan", "mini.yaml", "--check").code == 0
    changed = mini.edgepipe("plan", "mini.yaml", "--set", "numbers.with.start=1", "--json").json
    assert changed["runs"] == 5
    assert changed["nodes"][0]["reason"] == "numbers.with.start: 0.0 → 1.0"
    assert changed["nodes"][0]["seconds"] > 0
    partly = mini.edgepipe("plan", "mini.yaml", "--set", "double.matrix.factor=[2, 4]").out
    assert partly.endswith("3 cached, 2 to run\n")
    assert "never run" in partly


def test_until_names_what_is_made_from_the_node_that_from_names(project: Folder) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  a: {uses: numbers, with: {count: 3}}\n"
        "  b: {uses: double, in: {values: a}}\n",
    )
    done = project.edgepipe("run", "p.yaml", "--from", "b", "--until", "a")
    assert (done.code, done.err) == (
        2,
        "error: --until a: it is not made from b\n  leave --from out\n",
    )


def test_until_runs_only_what_is_needed(mini: Folder) -> None:
    assert mini.edgepipe("run", "mini.yaml", "--until", "double[3]").code == 0
    assert mini.trace() == ["numbers", "double[3]"]
    done = mini.edgepipe("run", "mini.yaml", "--until", "tripel")
    assert done.code == 2
    assert "there is no node 'tripel'" in done.err


def test_fresh(mini: Folder) -> None:
    mini.edgepipe("run", "mini.yaml")
    assert mini.edgepipe("run", "mini.yaml", "--fresh", "double").code == 0
    assert sorted(mini.trace()[5:]) == ["double[2]", "double[3]"]
    assert mini.edgepipe("run", "mini.yaml", "--fresh", "all", "--plain").code == 0
    assert len(mini.trace()) == 12
    assert mini.edgepipe("run", "mini.yaml", "--fresh", "tripel").code == 2


def test_a_result_that_another_pipeline_made_anew_is_the_one_that_is_shown(mini: Folder) -> None:
    text = "edgepipe: 1\nname: NAME\nstages:\n  numbers: {uses: numbers}\n"
    text += "  nap: {uses: measure, in: {values: numbers}}\n"
    for name in ("mini", "other"):
        mini.write(f"{name}.yaml", text.replace("NAME", name))
    naps = [
        mini.edgepipe("run", *arguments, "--json").json["nodes"][1]
        for arguments in (
            ("mini.yaml",),
            ("other.yaml", "--fresh", "nap"),
            ("mini.yaml",),
        )
    ]
    assert [nap["status"] for nap in naps] == ["ran", "ran", "cached"]
    assert naps[2]["metrics"] == naps[1]["metrics"] != naps[0]["metrics"]
    assert naps[2]["outputs"] == naps[1]["outputs"]


def test_a_gate_that_fails_exits_with_3(mini: Folder) -> None:
    mini.write("mini.yaml", PIPELINE.replace("> 5", "> 5000"))
    done = mini.edgepipe("run", "mini.yaml")
    assert done.code == 3
    assert "total[2].total > 5000" in done.out


def test_a_failed_run_exits_with_1_and_names_its_log(project: Folder) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  bad: {uses: misbehave, with: {how: exception}}\n"
        "  after: {uses: double, in: {values: bad}}\n  other: {uses: numbers}\n",
    )
    done = project.edgepipe("run", "p.yaml", "--json")
    assert done.code == 1
    nodes = {node["name"]: node for node in done.json["nodes"]}
    assert {name: node["status"] for name, node in nodes.items()} == {
        "bad": "failed",
        "after": "skipped",
        "other": "ran",
    }
    log = Path(done.json["folder"]) / nodes["bad"]["log"]
    assert str(log) in done.err
    assert "KeyError" in log.read_text()
    assert nodes["bad"]["seconds"] > 0


def test_json_of_a_run_is_what_show_says(mini: Folder) -> None:
    ran = mini.edgepipe("run", "mini.yaml", "--json")
    assert ran.json["status"] == "done"
    shown = mini.edgepipe("show", "--json").json
    assert shown == ran.json
    assert mini.edgepipe("show", ran.json["id"][-4:], "--json").json == ran.json
    text = mini.edgepipe("show").out
    assert "double[3]" in text
    assert "total 12" in text
    done = mini.edgepipe("show", "nothing")
    assert done.code == 2
    assert "there is no run 'nothing'" in done.err


def test_a_pipeline_names_its_last_run(mini: Folder) -> None:
    mini.write("sub/other.yaml", PIPELINE.replace("name: mini", "name: other"))
    mini.write("copy.yaml", PIPELINE)
    own = mini.edgepipe("run", "mini.yaml", "--json").json["id"]
    copy = mini.edgepipe("run", "copy.yaml", "--json").json["id"]
    inside = Folder(mini.path / "sub")
    other = inside.edgepipe("run", "other.yaml", "--json").json["id"]
    assert mini.edgepipe("show", "--json").json["id"] == other
    for file, run in (("mini.yaml", own), ("copy.yaml", copy), ("sub/other.yaml", other)):
        assert mini.edgepipe("show", file, "--json").json["id"] == run
        assert mini.edgepipe("runs", "show", file, "--json").json["id"] == run
        done = mini.edgepipe("export", "numbers", "out", "--run", file, "--json", "--force")
        assert done.json["run"] == run
    assert inside.edgepipe("show", "../mini.yaml", "--json").json["id"] == own
    # A record of an earlier version knows only how the file was named.
    record = mini.path / ".edgepipe" / "runs" / own / "run.json"
    old = json.loads(record.read_text())
    assert old.pop("source") == "mini.yaml"
    record.write_text(json.dumps(old))
    assert mini.edgepipe("show", "mini.yaml", "--json").json["id"] == own
    # Renamed, it is another pipeline.
    mini.write("mini.yaml", PIPELINE.replace("name: mini", "name: new"))
    for verb in (("show", "mini.yaml"), ("export", "numbers", "out2", "--run", "mini.yaml")):
        done = mini.edgepipe(*verb)
        assert (done.code, done.out) == (2, "")
        assert done.err == (
            "error: no run of 'new' from mini.yaml is recorded in "
            f"{mini.path}/.edgepipe/runs\n  start one: edgepipe run mini.yaml\n"
        )
    assert "mimi.yaml cannot be read" in mini.edgepipe("show", "mimi.yaml").err


def test_json_of_a_run_has_its_warnings(project: Folder) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  loud: {uses: misbehave, with: {how: warn}}\n"
        "  still: {uses: numbers}\n",
    )
    ran = project.edgepipe("run", "p.yaml", "--json").json
    assert ran["warnings"] == [{"node": "loud", "message": "look out"}]
    assert project.edgepipe("show", "--json").json["warnings"] == ran["warnings"]
    assert project.edgepipe("run", "p.yaml", "--json").json["warnings"] == []
    record = Path(ran["folder"]) / "run.json"
    old = json.loads(record.read_text())
    del old["warnings"]
    record.write_text(json.dumps(old))
    assert project.edgepipe("show", "--json").json["warnings"] == []


def test_show_last_is_the_last_of_runs_within_a_second(mini: Folder) -> None:
    mini.edgepipe("run", "mini.yaml")
    for _ in range(2):
        last = mini.edgepipe("run", "mini.yaml", "--json").json["id"]
        assert mini.edgepipe("show", "--json").json["id"] == last


def test_show_says_where_no_run_is(project: Folder) -> None:
    done = project.edgepipe("show")
    assert done.code == 2
    assert "no run is recorded" in done.err
    folder = project.path / ".edgepipe" / "runs" / "20200101-broken-0000"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"nodes": 3}')
    done = project.edgepipe("show")
    assert done.code == 2
    assert "run.json cannot be read" in done.err


def test_reports_are_written_where_they_are_asked_for(mini: Folder) -> None:
    done = mini.edgepipe(
        "run", "mini.yaml", "--report", "out/r.html", "--summary", "s.md", "--junit", "j.xml"
    )
    assert done.code == 0, done.err
    assert "<html" in (mini.path / "out" / "r.html").read_text().lower()
    assert "# ✓ mini" in (mini.path / "s.md").read_text()
    assert (mini.path / "j.xml").read_text().startswith("<?xml")


@pytest.mark.parametrize("form", ["text", "mermaid", "dot"])
def test_graph(mini: Folder, form: str) -> None:
    done = mini.edgepipe("graph", "mini.yaml", "--format", form)
    assert done.code == 0
    first, sign = {
        "text": ("numbers    numbers", "left ← double[2].values"),
        "mermaid": ("flowchart LR", "-->|left|"),
        "dot": ('digraph "mini" {', '"double[2]" -> "total[2]" [label="left"]'),
    }[form]
    assert done.out.startswith(first)
    assert sign in done.out
    nodes = mini.edgepipe("graph", "mini.yaml", "--json", "--until", "double").json["nodes"]
    assert [node["name"] for node in nodes] == ["numbers", "double[2]", "double[3]"]
    assert nodes[1]["inputs"] == {"values": "numbers.values"}


def test_stages(project: Folder) -> None:
    listed = project.edgepipe("stages").out
    assert "convert.tflite" in listed
    assert [line for line in listed.splitlines() if line.startswith("double ")] == [
        line for line in listed.splitlines() if "Every number times a factor.  (plug-in)" in line
    ]
    page = project.edgepipe("stages", "numbers").out
    for part in (
        "parameters (with:)",
        "integer ≥ 1, ≤ 100 = 3",
        "how many",
        "share",
        "uses: numbers",
    ):
        assert part in page
    data = project.edgepipe("stages", "parameters", "--json").json
    by_name = {p["name"]: p for p in data["parameters"]}
    assert by_name["size"]["required"] is True
    assert by_name["mode"]["type"] == "fast | exact"
    assert by_name["maybe.steps"]["description"] == "how many"
    assert by_name["depth"]["bounds"] == "≥ 1, < 10"
    everything = project.edgepipe("stages", "--json").json
    assert {"double", "train.classifier"} <= {kind["kind"] for kind in everything}
    wrong = project.edgepipe("stages", "doubel")
    assert wrong.code == 2
    assert "did you mean 'double'?" in wrong.err


def test_doctor(project: Folder) -> None:
    done = project.edgepipe("doctor", "--json")
    assert done.code in {0, 1}
    names = {check["name"]: check for check in done.json["checks"]}
    assert names["python"]["ok"]
    assert names["torch"]["found"]
    assert str(project.cache) in names["cache"]["found"]
    assert "ok      python" in project.edgepipe("doctor").out
    project.write(
        "plugins/absent.py",
        "from edgepipe.stage import Context, Folder, Stage\n\n\nclass Absent(Stage):\n"
        "    '''Needs what is not there.'''\n\n    outputs = {'out': Folder}\n"
        "    requires = ('no-such-distribution',)\n\n    def run(self, ctx: Context) -> None: ...\n",
    )
    done = project.edgepipe("doctor")
    assert done.code == 1
    assert "needed by absent: pip install no-such-distribution" in done.out
