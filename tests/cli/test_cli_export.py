"""Outputs, copied to the user."""

from __future__ import annotations

import json

import pytest
from mini_pipeline import export
from projects import Folder


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
