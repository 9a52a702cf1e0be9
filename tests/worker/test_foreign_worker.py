"""Workers in another interpreter: which packages they find, which jobs they take, how they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Folder
from test_executor import finish, job

import edgepipe_stages
from edgepipe.executor.local import LocalExecutor

LOOKS = """\
import json
import sys
from importlib.util import find_spec

from edgepipe.stage import BaseModel, Context, Folder, Stage


class Looks(Stage):
    '''Say what it sees.'''

    outputs = {"out": Folder}

    def run(self, ctx: Context) -> None:
        seen = {
            "base": BaseModel.__module__,
            "spec": find_spec("edgepipe").origin,
            "path": sys.path,
            "stages": find_spec("edgepipe_stages") is not None,
        }
        (ctx.output("out") / "seen.json").write_text(json.dumps(seen))
"""


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(3)
    yield executor
    executor.close(force=True)


def test_idle_workers_are_told_apart_by_interpreter(
    executor: LocalExecutor, project: Folder
) -> None:
    for node, interpreter in zip("abcd", ("", sys.executable, "", sys.executable), strict=True):
        messages = finish(executor, job(project, "not", node, interpreter=interpreter))
        assert messages[-1].name == "done", messages
    pids = [event["pid"] for event in project.events() if event["what"] == "start"]
    assert pids[0] == pids[2] != pids[1] == pids[3]


def test_only_our_packages_are_in_its_reach(
    executor: LocalExecutor, project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{Path(edgepipe_stages.__file__).parent.parent}:/nowhere")
    project.write("plugins/looks.py", LOOKS)
    out = project.path / "out"
    out.mkdir()
    path = str(project.path / "plugins" / "looks.py")
    given = {"module": "looks", "path": path, "params": {}, "outputs": {"out": str(out)}}
    # An interpreter with nothing installed: the one that ours was made from.
    bare = str(Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info))
    last = finish(executor, job(project, "not", interpreter=bare, **given))[-1]
    assert last.name == "done", last
    seen = json.loads((out / "seen.json").read_text())
    assert seen["base"] == "edgepipe.plainmodel"
    assert seen["spec"] == str(Path(sys.modules["edgepipe"].__file__ or ""))
    assert seen["stages"] is False
    assert "/nowhere" not in seen["path"]
    assert not any(path.startswith(sys.prefix) for path in seen["path"] if path)


def test_the_package_of_a_stage_is_found_by_its_folder(
    executor: LocalExecutor, project: Folder
) -> None:
    root = Path(edgepipe_stages.__file__).parent.parent
    out = project.path / "out"
    (out / "data").mkdir(parents=True)
    given = {
        "module": "edgepipe_stages.data.digits",
        "path": str(root / "edgepipe_stages" / "data" / "digits.py"),
        "root": str(root),
        "plugin": False,
        "params": {"image_size": 8},
        "outputs": {"data": str(out / "data")},
    }
    bare = str(Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info))
    last = finish(executor, job(project, "not", interpreter=bare, **given))[-1]
    # It was found and began: what it may lack is what it computes with.
    if last.name != "done":
        assert last.data["message"].startswith("ModuleNotFoundError: No module named ")
        assert "edgepipe" not in last.data["message"]


def test_an_interpreter_that_is_gone_fails_its_job_alone(
    executor: LocalExecutor, project: Folder
) -> None:
    lost = job(project, "not", "lost", interpreter="/nowhere/bin/python")
    messages = finish(executor, lost, job(project, "not", "fine"))
    ends = {message.node: message for message in messages if message.last}
    assert ends["fine"].name == "done"
    assert ends["lost"].data["message"] == (
        "the interpreter /nowhere/bin/python cannot be started: no such file or directory"
    )
    assert "edgepipe env sync" in ends["lost"].data["hint"]
