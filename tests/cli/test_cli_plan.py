"""`plan` and `why`: what changed, in the pipeline's words, and how long it will take."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from projects import Folder
from storing import flip, objects

TEXT = (
    "edgepipe: 1\nname: p\nstages:\n  a: {uses: numbers, with: {count: 3}}\n"
    "  b: {uses: double, in: {values: a}, with: {factor: 2}}\n"
    "  c: {uses: total, in: {left: b}}\n  m: {uses: measure, in: {values: a}}\n"
)


@pytest.fixture
def ran(project: Folder) -> Folder:
    project.write("p.yaml", TEXT)
    assert project.edgepipe("run", "p.yaml").code == 0
    return project


def test_plan_says_what_changed_and_how_long_it_will_take(ran: Folder) -> None:
    planned = ran.edgepipe(
        "plan", "p.yaml", "--set", "b.with.factor=3", "--json", "--jobs", "1"
    ).json
    rows = {row["node"]: row for row in planned["nodes"]}
    assert rows["b"]["reason"] == "b.with.factor: 2.0 → 3.0"
    assert rows["b"]["changes"] == [
        {
            "what": "params",
            "name": "factor",
            "text": "b.with.factor: 2.0 → 3.0",
            "before": 2.0,
            "after": 3.0,
        }
    ]
    assert rows["c"]["reason"] == "its input b runs"
    assert rows["c"]["waits_for"] == ["b"]
    assert rows["m"]["status"] == "cached"
    expected = planned["estimate"]
    assert expected["critical_path"] == ["b", "c"]
    assert expected["work"] == pytest.approx(rows["b"]["seconds"] + rows["c"]["seconds"])
    assert expected["seconds"] == pytest.approx(expected["work"])
    assert expected["never_run"] == 0
    told = ran.edgepipe("plan", "p.yaml", "--set", "b.with.factor=3").out
    assert "2 cached, 2 to run; at most about" in told
    assert told.rstrip().endswith("b → c")


TRAINS = """\
from _values import Numbers

from edgepipe.stage import Context, Stage


class Trains(Stage):
    'Takes as long as it has epochs.'

    outputs = {"values": Numbers}
    epochs: int = 2
    rate: float = 1

    def run(self, ctx: Context) -> None:
        ctx.save("values", [self.epochs * self.rate])
"""


def test_the_time_of_fewer_epochs_is_no_estimate_for_more(project: Folder) -> None:
    project.write("plugins/trains.py", TRAINS)
    text = "  t: {uses: trains}\n  d: {uses: double, in: {values: t}}\n"
    project.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n{text}")
    assert project.edgepipe("run", "p.yaml").code == 0

    def estimate(*settings: str) -> tuple[dict[str, Any], str]:
        told = [part for setting in settings for part in ("--set", setting)]
        found = project.edgepipe("plan", "p.yaml", *told, "--json").json["estimate"]
        return found, project.edgepipe("plan", "p.yaml", *told).out.splitlines()[-1]

    found, said = estimate("t.with.epochs=50")
    assert (found["not_comparable"], found["never_run"]) == (["t"], 0)
    assert said.endswith("; not counted: 1 with more epochs or steps than last time")
    # Fewer take no longer than it did, and a rate takes no time.
    for setting in ("t.with.epochs=1", "t.with.rate=3"):
        found, said = estimate(setting)
        assert found["not_comparable"] == []
        assert "; at most about " in said
        assert "not counted" not in said
    project.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n{text.splitlines()[0]}\n")
    said = estimate("t.with.epochs=50")[1]
    assert said == "0 cached, 1 to run; no estimate: 1 with more epochs or steps than last time"


def test_plan_names_code_that_changed(ran: Folder) -> None:
    path = ran.path / "plugins/_values.py"
    path.write_text(path.read_text().replace("times(number, factor)", "times(factor, number)"))
    rows = {r["node"]: r for r in ran.edgepipe("plan", "p.yaml", "--json").json["nodes"]}
    assert rows["b"]["reason"] == "code: _values.py:scaled"
    assert rows["b"]["changes"][0]["changed"] == ["_values.py:scaled"]
    assert rows["a"]["status"] == "cached"


def test_both_a_change_of_its_own_and_of_an_input_are_said(ran: Folder) -> None:
    changes = ("--set", "a.with.count=4", "--set", "b.with.factor=3")
    rows = {r["node"]: r for r in ran.edgepipe("plan", "p.yaml", *changes, "--json").json["nodes"]}
    assert rows["b"]["reason"] == "b.with.factor: 2.0 → 3.0; its input a runs"
    why = ran.edgepipe("why", "p.yaml", "c", *changes, "--json").json["nodes"][0]
    assert [(c["node"], c["reason"]) for c in why["because"]] == [
        ("b", "b.with.factor: 2.0 → 3.0; its input a runs"),
        ("a", "a.with.count: 3 → 4"),
    ]
    told = ran.edgepipe("why", "p.yaml", "c", *changes).out
    assert "    a.with.count: 3 → 4\n" in told
    assert "    b.with.factor: 2.0 → 3.0\n" in told


def test_why_says_what_the_key_of_a_cached_node_is_made_of(ran: Folder) -> None:
    told = ran.edgepipe("why", "p.yaml", "m").out
    assert told.startswith("m (measure) is cached\n")
    for text in ("_values.py: 3", "machine", "cores: ", "python: 3", "seed: ", "it last ran on"):
        assert text in told
    found = ran.edgepipe("why", "p.yaml", "m", "--json").json["nodes"][0]
    assert set(found["made_of"]) >= {"kind", "code", "params", "inputs", "requires", "machine"}
    assert "_values.py:Numbers" in found["code"]
    assert found["key"] == found["last"]["key"]


def test_why_of_a_node_that_is_not_there(ran: Folder) -> None:
    done = ran.edgepipe("why", "p.yaml", "bb")
    assert done.code == 2
    assert "there is no node 'bb'" in done.err
    assert "did you mean 'b'" in done.err


@pytest.mark.parametrize("verb", ["plan", "why"])
def test_what_was_found_damaged_is_said(ran: Folder, verb: str) -> None:
    damaged = next(p for p in objects(ran.cache) if p.read_bytes() == b"[0.0, 1.0, 2.0]")
    words = ("plan", "p.yaml") if verb == "plan" else ("why", "p.yaml", "a")
    flip(damaged, 5)
    told = ran.edgepipe(*words).out
    assert "its result is no longer in the cache" in told
    note = told.splitlines()[-1]
    assert note.startswith("note: the object ")
    assert "holds other bytes than it did" in note
    assert f"it is kept in {ran.cache / 'quarantine'}" in note
    assert ran.edgepipe("run", "p.yaml").code == 0
    flip(damaged, 5)
    assert len(ran.edgepipe(*words, "--json").json["warnings"]) == 1


def test_why_asks_the_team_s_store_as_plan_does(
    ran: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPIPE_REMOTE", str(tmp_path / "team"))
    assert ran.edgepipe("cache", "push", "p.yaml").code == 0
    shutil.rmtree(ran.cache)
    assert ran.edgepipe("why", "p.yaml", "b").out.startswith("b (double) is in the remote\n")
    found = ran.edgepipe("why", "p.yaml", "b", "--json").json["nodes"][0]
    assert (found["status"], found["reason"]) == ("remote", "")


def test_plan_checks(ran: Folder) -> None:
    assert ran.edgepipe("plan", "p.yaml", "--check").code == 0
    assert ran.edgepipe("plan", "p.yaml", "--check", "--set", "seed=9").code == 4
    told = ran.edgepipe("plan", "p.yaml", "--set", "seed=9", "--json").json["nodes"]
    assert told[0]["reason"] == "seed: 0 → 9"
    assert ran.edgepipe("plan", "p.yaml", "--jobs", "0").code == 2


def test_files_that_changed_are_counted_and_named(project: Folder) -> None:
    project.write(
        "plugins/folder.py",
        '"""folder: counts files."""\n\nfrom pathlib import Path\n\nfrom _values import Numbers\n\n'
        "from edgepipe.stage import Context, Stage, UserPath\n\n\nclass Count(Stage):\n"
        '    """Counts files."""\n\n    outputs = {"values": Numbers}\n    path: UserPath\n\n'
        "    def run(self, ctx: Context) -> None:\n"
        '        ctx.save("values", [len(list(Path(self.path).iterdir()))])\n',
    )
    for number in range(5):
        project.write(f"data/{number}.txt", "x")
    project.write(
        "p.yaml", "edgepipe: 1\nname: p\nstages: {d: {uses: folder, with: {path: data}}}\n"
    )
    assert project.edgepipe("run", "p.yaml").code == 0
    project.write("data/1.txt", "y")
    project.write("data/9.txt", "new")
    told = project.edgepipe("plan", "p.yaml", "--json").json["nodes"][0]["reason"]
    assert told == "d.with.path: 1 changed, 1 new of 6 files: 1.txt, 9.txt"
