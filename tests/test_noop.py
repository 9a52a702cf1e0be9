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
        "EDGEPIPE_REMOTE": f"file://{asked.world.base}/shared?password-of-the-user",
    }
    asked.world.variables.update(secrets)
    asked.run()
    assert asked.run().fast
    bodies = [p.read_bytes() for p in asked.world.base.rglob("*") if p.is_file()]
    assert not any(b"a-key-that" in body or b"password-of" in body for body in bodies)


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


def test_a_plugin_that_reads_variables_is_asked_each_time(asked: Asked) -> None:
    text = (asked.world.root / "plugins/family/tables.py").read_text()
    text = text.replace(
        "    outputs =", "    mode: str = os.environ.get('MODE', 'a')\n    outputs ="
    )
    asked.write("plugins/family/tables.py", f"import os\n{text}")
    seen = []
    for mode in ("a", "b", "a", "b"):
        asked.world.variables["MODE"] = mode
        found = asked.run("--json").json["nodes"]
        seen += [(n["params"]["mode"], n["status"]) for n in found if n["name"] == "tables"]
    assert seen == [("a", "ran"), ("b", "ran"), ("a", "cached"), ("b", "cached")]
