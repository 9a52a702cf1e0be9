"""What must not run anything again."""

from __future__ import annotations

import ast
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab import Lab
from lab_edits import Change, append, definition, replace, write

from edgepipe.key import HERE, machine


def comment(name: str) -> Change:
    """A comment over the first statement, at the end, and a blank line."""
    return lambda lab: lab.edit(name, lambda text: f"# A comment.\n\n{text}\n# Another one.\n")


def docstrings(name: str) -> Change:
    """Every docstring is another one."""

    def edit(text: str) -> str:
        tree = ast.parse(text)
        kinds = ast.FunctionDef | ast.ClassDef | ast.Module
        for node in ast.walk(tree):
            if isinstance(node, kinds) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Expr(ast.Constant("Something else."))
        return ast.unparse(ast.fix_missing_locations(tree))

    return lambda lab: lab.edit(name, edit)


def formatted(name: str, *options: str) -> Change:
    """As a formatter leaves it that was told other things."""

    def change(lab: Lab) -> None:
        command = [sys.executable, "-m", "ruff", "format", "--isolated", *options, "-"]
        text = lab.text(name)
        done = subprocess.run(command, input=text.encode(), capture_output=True, check=True)
        assert done.stdout.decode() != text
        lab.write(name, done.stdout)

    return change


def unparsed(name: str) -> Change:
    """Without any layout of its own, or comments, as one that prints syntax trees leaves it."""
    return lambda lab: lab.edit(name, lambda text: ast.unparse(ast.parse(text)))


def functions_moved(name: str) -> Change:
    """Its functions in the opposite order, after all else."""

    def edit(text: str) -> str:
        tree = ast.parse(text)
        functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
        assert len(functions) > 1
        tree.body = [n for n in tree.body if n not in functions] + functions[::-1]
        return ast.unparse(tree)

    return lambda lab: lab.edit(name, edit)


def touched(name: str) -> Change:
    return lambda lab: os.utime(lab.path(name), (1, 1))


def rewritten(name: str) -> Change:
    """The same bytes in a new file."""
    return lambda lab: lab.write(name, lab.path(name).read_bytes())


def reordered(lab: Lab) -> None:
    """The pipeline's nodes in the opposite order."""

    def edit(text: str) -> str:
        head, _, body = text.partition("stages:\n")
        nodes: list[str] = []
        for line in body.splitlines(keepends=True):
            if line.startswith("  ") and line[2] != " ":
                nodes.append("")
            nodes[-1] += line
        return f"{head}stages:\n{''.join(nodes[::-1])}"

    lab.edit("lab.yaml", edit)


def renamed(lab: Lab) -> None:
    lab.edit(
        "lab.yaml",
        lambda text: (
            text.replace("student", "pupil")
            .replace("digits:", "data:")
            .replace("data: digits", "data: data")
        ),
    )


def new_stage(lab: Lab) -> None:
    lab.write(
        "@convert/other.py", lab.text("@convert/onnx.py").replace("convert.onnx", "convert.other")
    )


def another_package(lab: Lab) -> None:
    folder = "../site/unrelated-1.0.dist-info"
    lab.write(f"{folder}/METADATA", "Name: unrelated\nVersion: 1.0\n")
    lab.write("../site/unrelated.py", "x = 1\n")


EDITS: list[tuple[str, Change]] = [
    ("comment in a stage", comment("@train/classifier.py")),
    ("comment in a helper", comment("@_training/loop.py")),
    ("comment in an artifact", comment("@_artifacts.py")),
    ("comment in the user's code", comment("mydata.py")),
    ("comment in a plug-in", comment("plugins/vision/shift.py")),
    ("comment in YAML", replace("lab.yaml", "stages:", "# All.\nstages: # here")),
    ("docstrings of a stage", docstrings("@distill/logits.py")),
    (
        "description of a parameter",
        replace("plugins/vision/shift.py", "'pixels'", "'to the right, in pixels'"),
    ),
    ("docstrings of a helper", docstrings("@_torch_model.py")),
    ("docstrings of an artifact", docstrings("@_artifacts.py")),
    ("docstrings of the user's", docstrings("mydata.py")),
    ("formatter: narrow", formatted("@_training/loop.py", "--line-length", "60")),
    ("formatter: wide", formatted("@_artifacts.py", "--line-length", "200")),
    ("formatter: the user's", formatted("mydata.py", "--config", "indent-width=2")),
    ("layout of a stage", unparsed("@check/parity.py")),
    ("layout of a helper", unparsed("@_onnx_tf/elementwise.py")),
    ("functions moved: images", functions_moved("@_images.py")),
    ("functions moved: weights", functions_moved("@_weights.py")),
    ("functions moved: calibration", functions_moved("@_calibration.py")),
    ("functions moved: the user's", functions_moved("mydata.py")),
    ("a new stage in the family", new_stage),
    ("another stage's edit", definition("plugins/vision/mirror.py", "Mirror.run")),
    ("a stage nobody uses goes", write("plugins/vision/mirror.py", None)),
    ("a helper nobody reaches", append("helpers/other.py", "MORE = 1\n")),
    ("a function nobody calls", replace("helpers/shapes.py", "return number\n", "return 0\n")),
    ("a function nobody names", append("@_calibration.py", "\n\ndef new():\n    return 1\n")),
    (
        "a class nobody names",
        append("@_artifacts.py", "\n\nclass NewModel(Model):\n    payload = 'n'\n"),
    ),
    ("the user's other function", replace("mydata.py", "return 1", "return 2")),
    ("for type checkers", replace("plugins/_typing_only.py", "str", "int")),
    (
        "imported for type checkers",
        replace("plugins/vision/shift.py", "import Name", "import Name as N"),
    ),
    ("what only a program does", replace("helpers/layers.py", "print(flat(1))", "print(flat(2))")),
    ("a data file nobody reads", write("plugins/_other.json", "[1]")),
    ("a file beside the project's", write("notes.txt", "nothing")),
    ("a new file of code", write("helpers/unused.py", "import torch\n")),
    ("a node renamed", renamed),
    ("YAML reordered", reordered),
    (
        "YAML in another style",
        replace("lab.yaml", "{arch: resnet8}, epochs: 2", '{"arch": "resnet8"}, "epochs": 2'),
    ),
    (
        "a default written out",
        replace("lab.yaml", "temperature: 4.0", "temperature: 4.0, alpha: 0.7"),
    ),
    ("a variable for a value", replace("lab.yaml", '"${side}"', "16")),
    ("the pipeline's name", replace("lab.yaml", "name: lab", "name: other")),
    ("a gate", append("lab.yaml", "gates: [teacher.accuracy >= 1 %]\n")),
    ("a timeout", replace("lab.yaml", "data.digits,", "data.digits, timeout: 60,")),
    ("threads", replace("lab.yaml", "data.digits,", "data.digits, cpus: 2,")),
    ("an image touched", touched("photos/cat/1.png")),
    ("an image rewritten", rewritten("photos/cat/1.png")),
    ("weights touched", touched("weights.safetensors")),
    ("a stage touched", touched("@train/classifier.py")),
    ("a helper rewritten", rewritten("@_training/loop.py")),
    ("an unrelated package", another_package),
]


@pytest.mark.parametrize("change", [e[1] for e in EDITS], ids=[e[0] for e in EDITS])
def test_nothing_runs_again(lab: Lab, change: Change) -> None:
    change(lab)
    nothing(lab)


def nothing(lab: Lab, project: Path | None = None) -> None:
    decisions = lab.planner(project=project).plan()
    assert [f"{d.node.name}: {d.reason}" for d in decisions if d.record is None] == []
    assert len(decisions) == 21


def test_a_folder_moved(lab: Lab) -> None:
    moved = lab.root / "elsewhere" / "deep"
    shutil.copytree(lab.project, moved, ignore=shutil.ignore_patterns(".edgepipe"))
    try:
        nothing(lab, moved)
    finally:
        shutil.rmtree(moved.parent)


def test_a_folder_of_images_renamed(lab: Lab) -> None:
    lab.edit("lab.yaml", lambda text: text.replace("path: photos", "path: pictures"))
    lab.path("photos").rename(lab.path("pictures"))
    try:
        nothing(lab)
    finally:
        lab.path("pictures").rename(lab.path("photos"))


def test_another_machine_for_what_measures_nothing(lab: Lab) -> None:
    lab.world = dataclasses.replace(HERE, machine=lambda: {**machine(), "cores": 4096})
    decisions = lab.planner().plan()
    assert {d.node.kind.name.partition(".")[0] for d in decisions if d.record is None} == {
        "benchmark"
    }


def test_the_state_lost(lab: Lab) -> None:
    state = lab.project / ".edgepipe"
    shutil.move(state, lab.root / "state")
    try:
        nothing(lab)
    finally:
        shutil.rmtree(state, ignore_errors=True)
        shutil.move(lab.root / "state", state)
