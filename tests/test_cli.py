"""The command as a user calls it: verbs, exit codes, JSON, and what is imported."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import Finished, Folder, command

from edgepipe import __version__
from edgepipe.cli import VERBS, main

PIPELINE = """
edgepipe: 1
name: mini
vars: {n: 3}
stages:
  numbers: {uses: numbers, with: {count: "${n}"}}
  double: {uses: double, in: {values: numbers}, matrix: {factor: [2, 3]}}
  total: {uses: total, in: {left: double, right: numbers}}
gates:
  - total.total > 5
"""


@pytest.fixture
def mini(project: Folder) -> Folder:
    project.write("mini.yaml", PIPELINE)
    return project


# -- help and mistakes on the command line


def test_help_names_every_verb_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["-h"], ["help"], []):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        assert all(f"\n  {verb} " in text for verb in VERBS)
        assert all(f"{code} " in text for code in (0, 1, 2, 3, 4, 130))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: edgepipe {verb}")
    assert "--debug" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "-V"):
        assert main([flag]) == 0
        assert capsys.readouterr().out == f"edgepipe {__version__}\n"


def test_an_unknown_verb_is_answered_with_the_nearest(project: Folder) -> None:
    done = project.edgepipe("vaildate", "x.yaml")
    assert done.code == 2
    assert done.err.startswith(
        "error: there is no verb 'vaildate'\n  did you mean 'validate'? verbs: cache,"
    )


def test_wrong_arguments_exit_with_2(mini: Folder) -> None:
    assert mini.edgepipe("run").code == 2
    assert mini.edgepipe("plan", "mini.yaml", "--nonsense").code == 2
    done = mini.edgepipe("run", "mini.yaml", "--jobs", "0")
    assert (done.code, done.err) == (2, "error: --jobs must be at least 1\n")


def test_a_pipeline_that_is_not_there(mini: Folder) -> None:
    done = mini.edgepipe("validate", "mimi.yaml")
    assert done.code == 2
    assert done.err == (
        "error: mimi.yaml cannot be read: no such file or directory\n"
        "  did you mean 'mini.yaml'? YAML files in .: mini.yaml\n"
    )


def test_debug_shows_where_an_error_was_raised(mini: Folder) -> None:
    assert "Traceback" not in mini.edgepipe("plan", "nowhere.yaml").err
    assert "Traceback" in mini.edgepipe("plan", "nowhere.yaml", "--debug").err


# -- reading verbs


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


# -- export


def export(mini: Folder, *arguments: object) -> Finished:
    return mini.edgepipe("export", *arguments)


def test_export_copies(mini: Folder) -> None:
    mini.edgepipe("run", "mini.yaml")
    done = export(mini, "double[3]", "out")
    assert (done.code, done.out) == (0, "out/numbers.json\n")
    copy = mini.path / "out" / "numbers.json"
    assert json.loads(copy.read_text()) == [0.0, 3.0, 6.0]
    assert copy.stat().st_nlink == 1
    # The user's copy is the user's: the cache is unharmed by an edit in place.
    copy.write_text("[]")
    assert mini.edgepipe("plan", "mini.yaml", "--check").code == 0
    refused = export(mini, "double[3]", "out")
    assert refused.code == 2
    assert "out/numbers.json is there already" in refused.err
    assert copy.read_text() == "[]"
    assert export(mini, "double[3]", "out", "--force", "--json").json["files"] == ["numbers.json"]
    assert json.loads(copy.read_text()) == [0.0, 3.0, 6.0]
    assert [path.name for path in (mini.path / "out").iterdir()] == ["numbers.json"]


def test_export_of_one_port(mini: Folder) -> None:
    mini.edgepipe("run", "mini.yaml")
    assert export(mini, "numbers.report", "deep/er").out == "deep/er/metrics.json\n"
    assert export(mini, "total[2]", "one").out == "one/metrics.json\n"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("double", "has no node 'double'"),
        ("double[4]", "has no node 'double[4]'"),
        ("numbers.absent", "'numbers' has no output 'absent'"),
        ("numbers.a.b", "'numbers.a.b' is no output"),
        ("..", "'..' is no output"),
    ],
)
def test_export_of_what_is_not_there(mini: Folder, output: str, message: str) -> None:
    mini.edgepipe("run", "mini.yaml")
    done = export(mini, output, "out")
    assert done.code == 2
    assert message in done.err
    assert not (mini.path / "out").exists()


def test_export_needs_a_run_a_folder_and_the_objects(mini: Folder) -> None:
    assert export(mini, "numbers", "out").code == 2
    mini.edgepipe("run", "mini.yaml")
    mini.write("file", "x")
    done = export(mini, "numbers", "file")
    assert (done.code, done.err) == (2, "error: file is a file\n  give a folder\n")
    done = export(mini, "numbers", "out", "--cache", "elsewhere")
    assert done.code == 1
    assert "cannot be read: no such file" in done.err
    assert "run the pipeline" in done.err


def test_a_failed_node_has_nothing_to_export(project: Folder) -> None:
    project.write(
        "p.yaml", "edgepipe: 1\nname: p\nstages: {a: {uses: misbehave, with: {how: error}}}\n"
    )
    project.edgepipe("run", "p.yaml")
    done = export(project, "a", "out")
    assert done.code == 2
    assert "'a' has no output: it failed" in done.err


# -- on a terminal


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


# -- where things are kept


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


def test_output_that_nobody_reads_is_no_error(mini: Folder) -> None:
    command = f"{sys.executable} -m edgepipe schema | head -c 100"
    done = subprocess.run(["sh", "-c", command], cwd=mini.path, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


# -- plug-ins


def test_a_plugin_is_found_checked_cached_and_run_again_after_an_edit(project: Folder) -> None:
    project.write(
        "plugins/mine/halve.py",
        '"""mine.halve."""\n\nfrom _values import Numbers\n\n'
        "from edgepipe.stage import Context, Field, Stage\n\n\nclass Halve(Stage):\n"
        '    """Every number by two."""\n\n    inputs = {"values": Numbers}\n'
        '    outputs = {"values": Numbers}\n'
        '    by: float = Field(2.0, gt=0, description="divisor")\n\n'
        "    def run(self, ctx: Context) -> None:\n"
        '        ctx.save("values", [n / self.by for n in ctx.input("values")])\n',
    )
    text = "edgepipe: 1\nname: p\nstages:\n  a: {uses: numbers}\n  h: {uses: mine.halve, in: {values: a}}\n"
    project.write("p.yaml", text)
    assert "mine.halve" in project.edgepipe("stages").out
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0
    path = project.path / "plugins/mine/halve.py"
    path.write_text(path.read_text().replace('"""Every number by two."""', '"""Halves."""  # so'))
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0
    path.write_text(path.read_text().replace("n / self.by", "n / self.by + 0"))
    planned = project.edgepipe("plan", "p.yaml", "--json").json
    assert [node["status"] for node in planned["nodes"]] == ["cached", "runs"]
    assert planned["nodes"][1]["reason"] == "code: mine/halve.py:Halve"
    helper = project.path / "plugins/_values.py"
    helper.write_text(helper.read_text().replace("json.dumps(value)", "json.dumps([*value])"))
    # All that reach the helper run again.
    assert project.edgepipe("plan", "p.yaml", "--json").json["runs"] == 2


def test_the_users_files_and_code_are_inputs(project: Folder) -> None:
    project.write("data/a.txt", "one")
    project.write(
        "code.py", "from more import shout\n\n\ndef convert(text):\n    return shout(text)\n"
    )
    project.write("more.py", "def shout(text):\n    return text.upper() + '!'\n")
    project.write(
        "pipes/p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        "  w: {uses: text.upper, with: {file: ../data, code: '../code.py:convert'}}\n"
        "  m: {uses: text.upper, with: {file: ../data/a.txt, code: 'more:shout'}}\n",
    )
    done = project.edgepipe("run", "pipes/p.yaml")
    assert done.code == 0, done.out + done.err
    export(project, "w", "out")
    assert (project.path / "out" / "words.txt").read_text() == "ONE!"

    def runs() -> Any:
        planned = project.edgepipe("plan", "pipes/p.yaml", "--json").json["nodes"]
        return [node["node"] for node in planned if node["status"] == "runs"]

    assert runs() == []
    project.write("data/b.txt", "two")
    assert runs() == ["w"]
    (project.path / "data/b.txt").unlink()
    project.write("more.py", "def shout(text):\n    return text.upper() + '?'\n")
    assert runs() == ["w", "m"]
    project.write("more.py", "def shout(text):\n    # loud\n    return text.upper() + '!'\n")
    assert runs() == []


def test_errors_of_the_users_code_are_the_nodes(project: Folder) -> None:
    project.write("code.py", "import no_such_thing\n")
    project.write("good.py", "def f(text):\n    return text\n")
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  a: {uses: text.upper, with: {code: 'code.py:f'}}\n"
        "  b: {uses: text.upper, with: {code: 'good.py:g'}}\n"
        "  c: {uses: text.upper, with: {code: 'good.py:f'}}\n",
    )
    done = project.edgepipe("run", "p.yaml", "--json")
    assert done.code == 1
    errors = {node["name"]: node["error"] for node in done.json["nodes"]}
    assert errors["a"].startswith("importing code.py failed: ModuleNotFoundError: No module")
    assert errors["b"] == "good.py has no 'g'\nit has: f"
    assert errors["c"] == ""


# -- what is imported


HEAVY = ("torch", "tensorflow", "onnx", "onnxruntime", "numpy", "sklearn", "PIL", "safetensors")
PROBE = """
import sys
from edgepipe.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as error:
    code = error.code
print("\\n".join(sorted(sys.modules)), file=sys.stderr)
raise SystemExit(code)
"""


def imported(project: Folder, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=project.path,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


REAL = """
edgepipe: 1
name: real
stages:
  data: {uses: data.digits}
  teacher: {uses: train.classifier, in: {data: data}, with: {model: {arch: resnet8}}}
  onnx: {uses: convert.onnx, in: {model: teacher}}
  savedmodel: {uses: convert.savedmodel, in: {model: onnx}}
  tflite: {uses: convert.tflite, in: {model: savedmodel}}
"""


@pytest.mark.parametrize("verb", ["validate", "plan", "graph", "run"])
def test_no_framework_is_imported_by_the_command_itself(project: Folder, verb: str) -> None:
    project.write("real.yaml", REAL)
    # A run that stops at once: the worker imports, the command does not.
    until = ["--until", "data", "--json"] if verb == "run" else []
    modules = imported(project, verb, "real.yaml", *until)
    assert "edgepipe_stages.convert.tflite" in modules
    assert not modules & set(HEAVY)


@pytest.mark.parametrize(
    "arguments", [("stages",), ("schema",), ("doctor",), ("stages", "data.digits")]
)
def test_no_framework_is_imported_to_tell_of_stages(
    project: Folder, arguments: tuple[str, ...]
) -> None:
    if arguments == ("doctor",):
        arguments = ("doctor", "--json")
    try:
        modules = imported(project, *arguments)
    except subprocess.CalledProcessError as error:
        modules = set(error.stderr.split())
    assert "edgepipe.kinds" in modules
    assert not modules & set(HEAVY)


def test_help_imports_next_to_nothing(project: Folder) -> None:
    modules = imported(project, "--help")
    assert not modules & {*HEAVY, "pydantic", "yaml", "rich", "networkx", "blake3", "argparse"}
    modules = imported(project, "run", "--help")
    assert not modules & {*HEAVY, "rich", "networkx"}
