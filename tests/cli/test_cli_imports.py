"""What a command imports: nothing that takes long."""

from __future__ import annotations

import subprocess
import sys

import pytest
from projects import Folder

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
