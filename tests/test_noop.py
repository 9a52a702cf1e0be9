"""What a run that answers from memory has to notice, case by case; at random: test_fast_answer."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from fast_edits import World
from forked import Ended, shared
from random_pipelines import random_pipeline

from edgepipe.store import Store


class Asked:
    """A project whose pipeline ``q.yaml`` is run again and again."""

    def __init__(self, base: Path) -> None:
        self.world = World(base, random_pipeline(Random(0), 1))

    def start(self, *options: object) -> None:
        world = self.world
        shared().start("run", "q.yaml", *options, cwd=world.root, env=world.env(), path=world.path)

    def run(self, *options: object) -> Ended:
        # What was written just now is not remembered.
        time.sleep(0.06)
        self.start(*options)
        return shared().end()

    def write(self, name: str, text: str) -> Path:
        path = self.world.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


def ran(done: Ended) -> list[str]:
    return [node["name"] for node in done.json["nodes"] if node["status"] == "ran"]


def put(name: str, text: str) -> Callable[[Asked], object]:
    return lambda asked: asked.write(name, text)


EDITS = {
    "a file that code finds by a pattern": put("plugins/family/_tables/2.json", "2"),
    "a hidden one": put("plugins/family/_tables/.json", "2"),
    "the same for the user's code": put("lib/tables/deep/2.txt", "2"),
    "a module before another": put("lib/helper/__init__.py", "NUMBER = 2\n"),
    "a distribution": put("../site/fakedist-2.0.dist-info/METADATA", "Name: fakedist\nVersion: 2"),
    "a version": put("../site/fakedist-1.0.dist-info/METADATA", "Name: fakedist\nVersion: 2.0\n"),
    "an egg's version": put(
        "../develop/eggdist.egg-info/PKG-INFO", "Name: eggdist\nVersion: 2.0\n"
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_what_changes_a_result_is_noticed(asked: Asked, edit: Callable[[Asked], object]) -> None:
    assert set(ran(asked.run("--json"))) == {"tables", "uses"}
    assert asked.run("--json").fast
    edit(asked)
    done = asked.run("--json")
    assert not done.fast
    assert len(ran(done)) == 1
    assert asked.run("--json").fast


def test_every_file_of_a_result_is_looked_at(asked: Asked) -> None:
    asked.run()
    store = Store(asked.world.cache)
    keys = list(store.records.keys())
    records = [record for key in keys if (record := store.record(key))]
    trees = {output.tree for record in records for output in record.outputs.values()}
    digests = {file.digest for tree in trees for file in store.tree(tree).files}
    files = [*map(store.records.path, keys), *map(store.objects.path, trees | digests)]
    # Of each of two nodes a record, a tree and a file.
    assert len(files) >= 6
    for path in map(Path, files):
        assert asked.run().fast
        path.unlink()
        assert not asked.run().fast, path
        assert path.is_file()
    assert asked.run().fast


def test_a_project_begins_further_up(asked: Asked) -> None:
    (asked.world.root / "edgepipe.toml").unlink()
    asked.run()
    assert asked.run().fast
    (asked.world.base / "edgepipe.toml").touch()
    done = asked.run()
    assert done.code == 2
    assert "unknown kind" in done.err


def test_a_folder_of_plugins_comes_into_being(asked: Asked) -> None:
    asked.write("edgepipe.toml", 'plugins = ["plugins", "more/plugins"]\n')
    (asked.world.root / "more").mkdir()
    asked.run()
    assert asked.run().fast
    asked.write("more/plugins/uses.py", "")
    done = asked.run()
    assert done.code == 2
    assert "the kind 'uses' is there twice" in done.err


def test_a_file_that_comes_while_it_runs(asked: Asked) -> None:
    time.sleep(0.06)
    asked.start("--json")
    runs = asked.world.root / ".edgepipe" / "runs"
    while not runs.is_dir():
        time.sleep(0.001)
    asked.write("lib/helper/__init__.py", "NUMBER = 2\n")
    shared().end()
    assert ran(asked.run("--json")) == ["uses"]


def test_a_file_of_the_future_is_a_file(asked: Asked) -> None:
    os.utime(asked.world.root / "data/v1/a", (4_102_444_800, 4_102_444_800))
    asked.run()
    assert asked.run().fast


def test_secrets_are_not_remembered(asked: Asked) -> None:
    secrets = {
        "EDGEPIPE_SIGNING_KEY": "a-key-that-the-team-shares",
        "EDGEPIPE_REMOTE": f"file://{asked.world.base}/password-of-the-user",
    }
    asked.world.variables.update(secrets)
    asked.run()
    assert asked.run().fast
    bodies = [p.read_bytes() for p in asked.world.base.rglob("*") if p.is_file()]
    assert not any(b"a-key-that" in body or b"password-of" in body for body in bodies)


def test_what_is_not_ours_in_the_cache_slows_nothing(asked: Asked) -> None:
    asked.run()
    stray = asked.world.cache / "tmp" / "thesis.doc"
    stray.write_text("years of work")
    assert asked.run().fast
    assert stray.exists()


def test_a_signing_key_that_is_gone(asked: Asked) -> None:
    key = asked.write("team.key", "a-key-that-the-team-shares")
    asked.write("edgepipe.toml", '[remote]\nurl = "../shared"\nsigning_key_file = "team.key"\n')
    asked.run()
    assert asked.run().fast
    key.write_text("short")
    assert "fewer than 16 characters" in asked.run().err


@pytest.mark.parametrize("alive", [False, True])
def test_what_a_killed_process_left_is_cleared(asked: Asked, alive: bool) -> None:
    asked.run()
    assert asked.run().fast
    folder = asked.world.cache / "tmp" / "12345-abcdef012345"
    folder.mkdir()
    (folder / "7").write_text("half a result")
    handle = os.open(folder, os.O_RDONLY)
    try:
        if alive:
            fcntl.flock(handle, fcntl.LOCK_EX)
        done = asked.run()
        assert "nothing to run" in done.out
        # What another process is at work on keeps nobody from answering fast.
        assert done.fast == alive == folder.exists()
    finally:
        os.close(handle)


STAGE = """\
from edgepipe.stage import Context, Field, Metric, Metrics, Stage
HEAD

class Tables(Stage):
    outputs = {"report": Metrics}
    metrics = {"total": Metric("number", "of all")}
    BODY

    def run(self, ctx: Context) -> None:
        ctx.save("report", {"total": RESULT})
"""
LR = "def _lr(): return float(os.environ.get('LR', '1'))"
OPENED = "def read(): return float(open('/nowhere/lr').read()) if LATER else 1.0"
CLOCK = "import time as t\ndef now(): return 0 * t.time()"
READING = {
    "a default": ("import os", "lr: float = float(os.environ.get('LR', '1'))", ""),
    "by another name": ("from os import getenv as g", "lr: float = float(g('LR', '1'))", ""),
    "a module": ("from lib.cfg import LR", "lr: float = LR", f"import os\n{LR}\nLR = _lr()"),
    "a module of a package": ("import lib.cfg", "lr: float = 1", "import os\nLR = os.environ"),
    "a function": ("from lib.cfg import _lr", "lr: float = _lr()", f"import os\n{LR}"),
    "a factory": (f"import os\n{LR}", "lr: float = Field(default_factory=_lr)", ""),
    "a factory elsewhere": (
        "from lib.cfg import _lr as made",
        "lr: float = Field(default_factory=made)",
        f"import os\n{LR}",
    ),
    "a lambda": (
        "import os",
        "lr: float = Field(default_factory=lambda: float(os.environ.get('LR', '1')))",
        "",
    ),
    "a validator": (
        "import os\nfrom pydantic import field_validator",
        "lr: float = 0\n    @field_validator('lr')\n    @classmethod\n"
        "    def check(cls, v): return (os.environ.get('LR'), v)[1]",
        "",
    ),
    "an annotation": (
        "from typing import Annotated\nfrom pydantic import AfterValidator\nfrom lib.cfg import ask",
        "lr: Annotated[float, AfterValidator(ask)] = 0",
        "import os\ndef ask(v): return (os.environ.get('LR'), v)[1]",
    ),
    "preflight": (
        "from lib.cfg import Asks",
        "def preflight(self, connected): return Asks().problems()",
        "import os\nclass Base:\n    def __init__(self): os.environ.get('LR')\n"
        "class Asks(Base):\n    def problems(self): return ()",
    ),
    "a hook": (
        "import os",
        "def model_post_init(self, context): os.environ.get('LR')",
        "",
    ),
    "the clock": (CLOCK, "lr: float = Field(default_factory=now)", ""),
    "the day": ("from datetime import date", "lr: float = Field(date.today().year)", ""),
    "chance": ("import random", "lr: float = 0 * random.random()", ""),
    "a local time": (
        "from datetime import datetime",
        "lr: float = datetime.fromtimestamp(0).hour",
        "",
    ),
    "a device": (
        "from lib.cfg import torch",
        "lr: float = 1 if torch.cuda.is_available() else 0",
        "class torch:\n    class cuda:\n        is_available = bool",
    ),
    "a device by name": (
        "from lib.cfg import cuda",
        "lr: float = 1 if cuda.is_available() else 0",
        "class cuda:\n    is_available = bool",
    ),
    "a folder for a while": ("import tempfile", "lr: int = len(tempfile.gettempdir())", ""),
    "a user": ("from getpass import getuser", "lr: int = len(getuser())", ""),
    "a program": ("import shutil", "lr: bool = shutil.which('x') is None", ""),
    "a file": ("from lib.cfg import read", "lr: float = read()", f"LATER = 0\n{OPENED}"),
    "a file at home": ("from pathlib import Path", "lr: bool = (Path.home() / 'x').exists()", ""),
    "a file here": ("", "lr: int = len(open('q.yaml').read())", ""),
}
"""What a stage's file begins with, what its class holds, and a module of the project."""


@pytest.mark.parametrize("how", READING.values(), ids=list(READING))
def test_what_is_read_while_compiling_is_asked_each_time(
    asked: Asked, how: tuple[str, str, str]
) -> None:
    head, body, module = how
    stage = STAGE.replace("HEAD", head).replace("BODY", body).replace("RESULT", "1.0")
    asked.write("plugins/family/tables.py", stage)
    asked.write("lib/cfg.py", module)
    assert asked.run().code == 0
    assert not asked.run().fast


def test_a_default_that_a_variable_gives_is_never_stale(asked: Asked) -> None:
    head, body, module = READING["a module"]
    stage = STAGE.replace("HEAD", head).replace("BODY", body).replace("RESULT", "self.lr")
    asked.write("plugins/family/tables.py", stage)
    asked.write("lib/cfg.py", module)
    seen = []
    for value in ("1", "2", "1", "2"):
        asked.world.variables["LR"] = value
        found = asked.run("--json").json["nodes"]
        seen += [(n["params"]["lr"], n["status"]) for n in found if n["name"] == "tables"]
    assert seen == [(1, "ran"), (2, "ran"), (1, "cached"), (2, "cached")]


RUNNING = """\
import os
import random
import time
from os import environ

PLACE = "/nowhere"
NAMES = os.path.join("a", "b").split("/")


def train(path=PLACE):
    random.seed(0)
    started = time.time()
    return environ.get("LR", started) and open("/dev/null").read()


class Loader:
    def __init__(self):
        self.place = os.environ.get("LR")


if __name__ == "__main__":
    print(os.environ, train())
"""


def test_what_only_a_running_stage_reads_costs_nothing(asked: Asked) -> None:
    head = "import time\nfrom lib.train import Loader, train\nimport lib.train as t"
    result = "float(bool(train() or Loader() or t.train() or time.time()))"
    stage = STAGE.replace("HEAD", head).replace("RESULT", result)
    asked.write("plugins/family/tables.py", stage.replace("BODY", "lr: float = time.sleep(0) or 1"))
    asked.write("lib/train.py", RUNNING)
    text = (asked.world.root / "lib/user.py").read_text()
    asked.write("lib/user.py", f"import os\nMODE = os.environ.get('MODE')\n{text}")
    assert asked.run().code == 0
    assert asked.run().fast
