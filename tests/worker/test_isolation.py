"""Jobs of one worker know nothing of each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from projects import Folder

USER = '''\
"""user: what the user's function gives."""

from edgepipe.stage import Context, Folder, Stage, UserCode


class User(Stage):
    """Calls a function."""

    outputs = {"out": Folder}
    code: UserCode

    def run(self, ctx: Context) -> None:
        (ctx.output("out") / "value").write_text(str(ctx.user_object(self.code)()))
'''
STATE = '''\
"""state: tells of the process, and changes it."""

import decimal
import json
import locale
import os
import signal
import sys
import warnings

from edgepipe.stage import Context, Folder, Stage

SEEN = []


class State(Stage):
    """Tells what it finds."""

    outputs = {"out": Folder}
    number: int

    def run(self, ctx: Context) -> None:
        SEEN.append(self.number)
        mask = os.umask(0o77)
        found = [
            SEEN, os.getcwd(), os.environ.get("LEFT"), mask, str(decimal.Decimal(1) / 3),
            sys.path, sys.getrecursionlimit(), str(signal.getsignal(signal.SIGTERM)),
            locale.setlocale(locale.LC_ALL), [f[0] for f in warnings.filters[:1]], sys.stdout is not None,
        ]
        (ctx.output("out") / "found").write_text(json.dumps(found))
        os.chdir("/")
        os.environ["LEFT"] = "over"
        decimal.getcontext().prec = 3
        sys.path.insert(0, "/nowhere")
        sys.setrecursionlimit(5000)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(1)
        locale.setlocale(locale.LC_ALL, "C")
        warnings.simplefilter("error")
        sys.stdout = None
'''
HOLDS = '''\
"""holds: keeps in its own classes what it was given first."""

import enum

from edgepipe.stage import Context, Folder, Stage


class Zoo:
    model_cache = {}
    __kept__ = {}


class Color(enum.Enum):
    RED = 1


class Holds(Stage):
    """Tells what it finds."""

    outputs = {"out": Folder}
    number: int

    def run(self, ctx: Context) -> None:
        found = HOW.setdefault("m", self.number)
        (ctx.output("out") / "value").write_text(str(found))
'''
FORKS = '''\
"""forks: its child comes back too, or goes on."""

import os
import threading
import time

from edgepipe.stage import Context, Folder, Stage


class Forks(Stage):
    """Leaves something behind."""

    outputs = {"out": Folder}
    how: str

    def run(self, ctx: Context) -> None:
        (ctx.output("out") / "value").write_text("half")
        if self.how == "fork" and not os.fork():
            time.sleep(0.5)
            return
        if self.how == "fail" and not os.fork():
            time.sleep(0.5)
            raise ValueError("in the child")
        if self.how == "early":
            if not os.fork():
                return
            time.sleep(0.5)
        if self.how == "thread":
            threading.Timer(0.5, ctx.warn, ["much later"]).start()
        if self.how == "wait":
            time.sleep(1.2)
        (ctx.output("out") / "value").write_text("whole")
'''


def values(project: Folder, *options: str, name: str = "value") -> dict[str, str]:
    """Node → what it wrote, when all run one after the other in one worker."""
    done = project.edgepipe("run", "p.yaml", "--jobs", "1", "--json", *options)
    assert done.code == 0, done.err + done.out
    found = {}
    for node in done.json["nodes"]:
        tree = json.loads(_object(project, node["outputs"]["out"]["digest"]))
        (file,) = (f["digest"] for f in tree if f["path"] == name)
        found[node["name"]] = _object(project, file).decode()
    return found


def _object(project: Folder, digest: str) -> bytes:
    return (project.cache / "objects" / digest[:2] / digest[2:]).read_bytes()


def test_files_of_names_that_look_alike(project: Folder) -> None:
    project.write("plugins/user.py", USER)
    for name in ("a/b", "a_b", "a__b"):
        project.write(f"{name}.py", f"def go(): return {name!r}\n")
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        + "".join(
            f"  n{number}: {{uses: user, with: {{code: '{name}.py:go'}}}}\n"
            for number, name in enumerate(("a/b", "a_b", "a__b"))
        ),
    )
    assert list(values(project).values()) == ["a/b", "a_b", "a__b"]


def test_helpers_of_one_name_in_two_folders(project: Folder) -> None:
    project.write("plugins/user.py", USER)
    for folder in "ab":
        project.write(f"{folder}/t.py", "from helper import V\n\ndef go(): return V\n")
        project.write(f"{folder}/helper.py", f"V = 'of {folder}'\n")
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  x: {uses: user, with: {code: 'a/t.py:go'}}\n"
        "  y: {uses: user, with: {code: 'b/t.py:go'}}\n",
    )
    assert values(project) == {"x": "of a", "y": "of b"}
    assert values(project, "--fresh", "y") == {"x": "of a", "y": "of b"}


def test_helpers_of_one_name_in_two_folders_of_plugins(project: Folder) -> None:
    project.write("edgepipe.toml", 'plugins = ["p1", "p2"]\n')
    stage = USER.replace("    code: UserCode\n", "    value: str = Field(_h.V)\n").replace(
        "str(ctx.user_object(self.code)())", "self.value + _h.V + __import__('_h').V"
    )
    stage = stage.replace(
        "from edgepipe.stage import Context,",
        "import _h\n\nfrom edgepipe.stage import Context, Field,",
    )
    for number in "12":
        project.write(f"p{number}/s{number}.py", stage)
        project.write(f"p{number}/_h.py", f"V = '{number}'\n")
    # A helper that only the other folder has is found all the same.
    project.write(
        "p1/s3.py",
        USER.replace("    code: UserCode\n", "").replace(
            "str(ctx.user_object(self.code)())", "__import__('_only').V"
        ),
    )
    project.write("p2/_only.py", "V = 'only'\n")
    project.write(
        "p.yaml", "edgepipe: 1\nname: p\nstages: {a: {uses: s1}, b: {uses: s2}, c: {uses: s3}}\n"
    )
    expected = {"a": "111", "b": "222", "c": "only"}
    assert values(project) == expected
    assert values(project, "--fresh", "b", "--fresh", "c") == expected


def test_what_a_job_changes_in_its_process_is_taken_back(project: Folder) -> None:
    project.write("plugins/state.py", STATE)
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages: {s: {uses: state, matrix: {number: [1, 2, 3]}}}\n",
    )
    found: list[list[Any]] = [json.loads(v) for v in values(project, name="found").values()]
    assert [one[0] for one in found] == [[1], [2], [3]]
    assert found[0][1:] == found[1][1:] == found[2][1:]


@pytest.mark.parametrize("how", ["Zoo.model_cache", "Zoo.__kept__", "vars(Color.RED)"])
def test_what_a_class_keeps_is_taken_back(project: Folder, how: str) -> None:
    project.write("plugins/holds.py", HOLDS.replace("HOW", how))
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages: {s: {uses: holds, matrix: {number: [5, 7]}}}\n",
    )
    assert list(values(project).values()) == ["5", "7"]


@pytest.mark.parametrize("how", ["early", "fork", "fail", "thread"])
def test_what_a_job_leaves_behind_does_not_speak_for_the_next(project: Folder, how: str) -> None:
    project.write("plugins/forks.py", FORKS)
    project.write(
        "p.yaml",
        f"edgepipe: 1\nname: p\nstages:\n  a: {{uses: forks, with: {{how: {how}}}}}\n"
        "  b: {uses: forks, with: {how: wait}}\n",
    )
    # By their times, b would go first in a later run.
    done = project.edgepipe("run", "p.yaml", "--plain", "--jobs", "1")
    words = [line.split()[1:3] for line in done.out.splitlines() if line[:8].strip()]
    assert words.index(["done", "a"]) < words.index(["start", "b"])
    assert "much later" not in done.out
    assert values(project) == {"a": "whole", "b": "whole"}
