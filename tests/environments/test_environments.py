"""Stages that run in an environment of their own; how it is locked and built."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import Folder
from small_wheels import wheel
from tiny_environments import (
    PIPELINE,
    TINY,
    built,
    lock_of,
    relock,
    rows,
    run,
    seen,
    statuses,
    sync,
)

from edgepipe.environments import read


def test_a_stage_runs_in_its_environment_and_sees_nothing_else(tiny: Folder) -> None:
    [made] = sync(tiny)
    done = run(tiny)
    assert set(statuses(done).values()) == {"ran"}
    there = seen(tiny)
    assert there["prefix"] == made["folder"]
    assert there["version"] == "1.0"
    assert there["names"] == "('a', 'b')"
    assert there["ours"] == []
    own = {str(Path(path).resolve()) for path in sys.path if "site-packages" in path}
    assert not own & set(there["path"])
    assert not any(path in there["path"] for path in os.environ.get("PYTHONPATH", "").split(":"))
    node = next(node for node in done.json["nodes"] if node["name"] == "last")
    assert node["metrics"] == {} or node["status"] == "ran"
    assert done.json["versions"]["tinylib (tiny)"] == "1.0"
    assert set(statuses(run(tiny)).values()) == {"cached"}


def test_what_is_cached_needs_no_environment(tiny: Folder) -> None:
    sync(tiny)
    run(tiny)
    removed = tiny.edgepipe("env", "rm", "tiny")
    assert removed.out.startswith("removed ")
    assert built(tiny) == []
    assert set(statuses(run(tiny)).values()) == {"cached"}
    assert tiny.edgepipe("run", "p.yaml", "--fresh", "there").code == 2


def test_a_lock_holds_versions_and_hashes_in_pips_format(tiny: Folder) -> None:
    text = lock_of(tiny).read_text()
    assert text.count("--hash=sha256:") == 2
    assert "tinydep==1.5 \\\n    --hash=sha256:" in text
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--dry-run", "--target"]
    command += [str(tiny.path / "target"), "-r", str(lock_of(tiny))]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_lock_is_in_the_key_and_comments_are_not(tiny: Folder, wheels: Path) -> None:
    sync(tiny)
    run(tiny)
    toml = tiny.write("configs/envs/tiny.toml", TINY.replace("# first", "# second\n\n#third"))
    lock = lock_of(tiny)
    lock.write_text("# a remark\n" + lock.read_text())
    assert set(statuses(run(tiny)).values()) == {"cached"}
    before = read(toml)
    wheel(wheels, "tinydep", "1.6", (), "def value(): return 6.0\n")
    relock(tiny)
    assert read(toml).digest != before.digest
    plan = tiny.edgepipe("plan", "p.yaml", "--json").json
    found = {row["node"]: row for row in plan["nodes"]}
    assert found["first"]["status"] == "cached"
    assert found["there"]["status"] == "runs"
    assert "environment" in found["there"]["reason"]
    sync(tiny)
    after = run(tiny)
    assert statuses(after) == {"first": "cached", "there": "ran", "last": "ran"}
    # Both are there now: the earlier lock's serves the earlier commit.
    assert len(built(tiny)) == 2
    assert rows(tiny)["tiny"]["state"] == "built"


def test_the_nodes_environment_counts_before_the_kinds(tiny: Folder, wheels: Path) -> None:
    wheel(wheels, "tinylib", "2.0", ["tinydep"], "from tinydep import value\n")
    tiny.write("configs/envs/other.toml", TINY)
    assert tiny.edgepipe("env", "lock", "other").code == 0
    tiny.write("p.yaml", PIPELINE.replace("uses: foreign", "uses: foreign\n    env: other"))
    sync(tiny, "other")
    run(tiny)
    assert seen(tiny)["version"] == "2.0"


def test_what_is_left_out_takes_along_what_only_it_requires(project: Folder, wheels: Path) -> None:
    wheel(wheels, "big", "1.0", ["only_big", "tinydep", 'never; extra == "more"'])
    wheel(wheels, "only_big", "1.0")
    wheel(wheels, "extra_dep", "1.0")
    wheel(wheels, "user", "1.0", ["big", "tinylib", 'extra-dep; extra == "all"'])
    text = TINY.replace("tinylib>=1", "user[all]")
    project.write("configs/envs/tiny.toml", text)
    relock(project)
    env = read(project.path / "configs/envs/tiny.toml")
    assert env.lock
    assert set(env.lock.packages) == {
        "big", "extra-dep", "only-big", "tinydep", "tinylib", "user"
    }  # fmt: skip
    project.write("configs/envs/tiny.toml", text + 'without = ["Big"]\n')
    relock(project)
    env = read(project.path / "configs/envs/tiny.toml")
    assert env.lock
    assert set(env.lock.packages) == {"extra-dep", "tinydep", "tinylib", "user"}


def test_a_sync_builds_once(tiny: Folder) -> None:
    [first], [second] = sync(tiny), sync(tiny)
    assert (first["status"], second["status"]) == ("built", "was built")
    assert first["size"] == second["size"] > 0
    [folder] = built(tiny)
    held = [p.name for p in folder.glob("lib/python*/site-packages/*") if "__pyc" not in p.name]
    assert sorted(name for name in held if name.endswith(".py")) == ["tinydep.py", "tinylib.py"]
    assert not any(name.startswith("pip") for name in held)
    row = rows(tiny)["tiny"]
    assert row["state"] == "built"
    assert row["size"] == first["size"]
    assert row["digest"] == folder.name
    text = tiny.edgepipe("env", "list").out
    assert folder.name in text
    assert "built" in text


def test_two_syncs_at_once_build_once(tiny: Folder) -> None:
    processes = [tiny.start("env", "sync", "tiny", "--json") for _ in range(3)]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    found = [json.loads(out)[0]["status"] for out, _ in ends]
    assert sorted(found) == ["built", "was built", "was built"]
    assert len(built(tiny)) == 1


def wait_for(condition: Callable[[], object], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["bin/python", "lib/python*/site-packages/tinydep.py"])
def test_a_killed_sync_leaves_nothing_that_is_used(tiny: Folder, wheels: Path, moment: str) -> None:
    # Many files: pip is still at work when it is noticed.
    wheel(wheels, "tinyzzz", "1.0", (), "x = 1\n" * 2_000_000)
    tiny.write("configs/envs/tiny.toml", TINY.replace('"tinylib>=1"', '"tinylib>=1", "tinyzzz"'))
    relock(tiny)
    process = tiny.start("env", "sync", "tiny")
    envs = tiny.cache / "envs"
    wait_for(lambda: list(envs.glob(f"*/{moment}")))
    process.kill()
    process.communicate()
    assert rows(tiny)["tiny"]["state"] == "not built"
    refused = tiny.edgepipe("run", "p.yaml")
    assert refused.code == 2
    assert "edgepipe env sync tiny" in refused.err
    assert sync(tiny)[0]["status"] == "built"
    assert len(built(tiny)) == 1
    assert run(tiny)
    assert seen(tiny)["version"] == "1.0"


def test_an_interrupted_sync_removes_what_it_began(tiny: Folder) -> None:
    process = tiny.start("env", "sync", "tiny")
    wait_for(lambda: list((tiny.cache / "envs").glob("*/bin/python")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert built(tiny) == []
