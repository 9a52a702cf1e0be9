"""The same through the command itself: what the laboratory decides is what a user gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from lab import Lab, downstream
from lab_edits import definition, value

REAL = """\
edgepipe: 1
name: real
stages:
  digits: {uses: data.digits, with: {image_size: 8}}
  made: {uses: data.python, with: {function: "real.py:make"}}
"""
MAKE = (
    "import numpy as np\n\nfrom helpers.shapes import SIZE\n\n\ndef make(seed):\n"
    "    labels = np.arange(40) % 2\n"
    "    return np.zeros((40, 8, 8, 1), np.uint8) + labels[:, None, None, None].astype(np.uint8), labels\n"
)


def edgepipe(lab: Lab, *arguments: str) -> Any:
    """The command in a process of its own, which finds the copy of the stages first."""
    path = [str(lab.root / "site"), *filter(None, sys.path)]
    command = [sys.executable, "-B", "-m", "edgepipe", *arguments, "--json"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [*command, "--cache", str(lab.root / "cache")],
        cwd=lab.project,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return json.loads(done.stdout)


def test_the_command_plans_as_the_laboratory_does(lab: Lab) -> None:
    def runs() -> set[str]:
        nodes = edgepipe(lab, "plan", "lab.yaml")["nodes"]
        return {node["node"] for node in nodes if node["status"] == "runs"}

    assert runs() == set()
    definition("@_training/schedule.py", "learning_rate")(lab)
    value("@convert/onnx.py", "ConvertOnnx.opset_version", "15")(lab)
    graph = lab.planner().graph
    assert runs() == downstream(graph, {"teacher", "student", "pruned", "sparse", "onnx"})
    why = edgepipe(lab, "why", "lab.yaml", "onnx")["nodes"][0]
    assert [change["text"] for change in why["changes"]] == [
        "onnx.with.opset_version: 14 → 15",
        "code: edgepipe_stages/convert/onnx.py:ConvertOnnx",
    ]
    assert [cause["node"] for cause in why["because"]] == ["pruned", "student", "teacher"]


def test_stages_run_again_for_real(lab: Lab) -> None:
    lab.write("real.yaml", REAL)
    lab.write("real.py", MAKE)

    def ran() -> set[str]:
        nodes = edgepipe(lab, "run", "real.yaml")["nodes"]
        return {node["name"] for node in nodes if node["status"] == "ran"}

    assert ran() == {"digits", "made"}
    assert ran() == set()
    lab.edit("real.py", lambda text: text.replace("% 2", "% 2 + 0"))
    assert ran() == {"made"}
    lab.edit("@_images.py", lambda text: text.replace("def dataset(", "# Said.\n\n\ndef dataset("))
    assert ran() == set()
    definition("@_images.py", "dataset")(lab)
    assert ran() == {"digits", "made"}
