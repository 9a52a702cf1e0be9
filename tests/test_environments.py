"""Environments: locked, built once, named in keys, and where workers run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from projects import GOLDEN, Finished, Folder, Golden
from small_wheels import wheel

from edgepipe.environments import Environments, read
from edgepipe.environments.pip import interpreter
from edgepipe.errors import ConfigError
from edgepipe.kinds import packages

TINY = '# first\npython = "3.11"\nrequirements = ["tinylib>=1"]\n'.replace(
    "3.11", "{}.{}".format(*sys.version_info)
)
PIPELINE = """\
edgepipe: 1
name: p
stages:
  first: {uses: numbers}
  there:
    uses: foreign
    with: {rate: 2, group: {names: [a, b]}}
  last: {uses: double, in: {values: there.values}}
"""


def make_wheels(folder: Path) -> None:
    wheel(folder, "tinylib", "1.0", ["tinydep"], "from tinydep import value\n")
    wheel(folder, "tinydep", "1.5", (), "def value(): return 5.0\n")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip knows of."""
    folder = tmp_path / "wheels"
    make_wheels(folder)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(project: Folder, wheels: Path) -> Folder:
    """A project with the environment ``tiny``, locked and not built."""
    project.write("configs/envs/tiny.toml", TINY)
    project.write("p.yaml", PIPELINE)
    if "tiny" in LOCKS:
        lock_of(project).write_text(LOCKS["tiny"])
    else:
        relock(project)
        LOCKS["tiny"] = lock_of(project).read_text()
    return project


LOCKS: dict[str, str] = {}
"""What `TINY` is locked to: the same for all tests."""


def lock_of(project: Folder, name: str = "tiny") -> Path:
    return project.path / "configs" / "envs" / f"{name}.lock"


def relock(project: Folder, **env: str) -> None:
    done = project.edgepipe("env", "lock", "tiny", **env)
    assert done.code == 0, done.err


def sync(project: Folder, *names: str) -> Any:
    done = project.edgepipe("env", "sync", *(names or ("tiny",)), "--json")
    assert done.code == 0, done.err
    return done.json


def built(project: Folder) -> list[Path]:
    folder = project.cache / "envs"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def rows(project: Folder) -> dict[str, Any]:
    done = project.edgepipe("env", "list", "--json")
    assert done.code == 0, done.err
    return {row["name"]: row for row in done.json}


def seen(project: Folder) -> Any:
    return json.loads((project.path / "seen.json").read_text())


def statuses(done: Finished) -> dict[str, str]:
    return {node["name"]: node["status"] for node in done.json["nodes"]}


def run(project: Folder, *arguments: str) -> Finished:
    done = project.edgepipe("run", "p.yaml", "--json", *arguments)
    assert done.code == 0, done.out + done.err
    return done


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


def neutral(text: str, project: Folder) -> str:
    return text.replace(str(project.path.parent), "<folder>")


def say(done: Finished, name: str, project: Folder, golden: Golden, code: int = 2) -> None:
    assert done.code == code
    assert done.out == ""
    golden(GOLDEN / "environments" / f"{name}.txt", neutral(done.err, project))


def test_plan_says_what_is_not_built(tiny: Folder) -> None:
    planned = tiny.edgepipe("plan", "p.yaml")
    assert planned.code == 0
    assert "note: foreign runs in the environment 'tiny', which is not built" in planned.out
    assert "edgepipe env sync tiny" in planned.out


def test_one_that_is_not_built_is_said_before_anything_runs(tiny: Folder, golden: Golden) -> None:
    before = tiny.files()
    say(tiny.edgepipe("run", "p.yaml"), "not_built", tiny, golden)
    assert tiny.files() == before
    assert tiny.trace() == []
    # What is planned or checked needs its lock only.
    assert tiny.edgepipe("validate", "p.yaml").code == 0
    assert tiny.edgepipe("plan", "p.yaml").code == 0


def test_requirements_that_changed_after_locking(tiny: Folder, golden: Golden) -> None:
    tiny.write("configs/envs/tiny.toml", TINY.replace(">=1", ">=1.0"))
    say(tiny.edgepipe("run", "p.yaml"), "lock_does_not_fit", tiny, golden)
    say(tiny.edgepipe("env", "sync", "tiny"), "sync_of_a_lock_that_does_not_fit", tiny, golden)
    assert rows(tiny)["tiny"]["state"] == "no lock"


def test_one_without_a_lock(tiny: Folder, golden: Golden) -> None:
    lock_of(tiny).unlink()
    say(tiny.edgepipe("validate", "p.yaml"), "no_lock", tiny, golden)


def test_the_lock_of_another_platform(tiny: Folder) -> None:
    lock = lock_of(tiny)
    lines = ["# platform: vax" if "platform" in x else x for x in lock.read_text().splitlines()]
    lock.write_text("\n".join(lines))
    done = tiny.edgepipe("validate", "p.yaml")
    assert done.code == 2
    assert "is for vax, and this machine is " in done.err
    assert "edgepipe env lock tiny" in done.err


def test_one_that_is_not_there(tiny: Folder, golden: Golden) -> None:
    tiny.write("p.yaml", PIPELINE.replace("uses: foreign", "uses: foreign\n    env: tinny"))
    say(tiny.edgepipe("validate", "p.yaml"), "unknown", tiny, golden)


def test_one_that_lacks_what_the_stage_requires(tiny: Folder, golden: Golden) -> None:
    tiny.write("configs/envs/tiny.toml", TINY.replace("tinylib", "tinydep"))
    relock(tiny)
    say(tiny.edgepipe("validate", "p.yaml"), "lacks", tiny, golden)


def test_a_package_that_fails_its_hash(tiny: Folder, wheels: Path, golden: Golden) -> None:
    wheel(wheels, "tinydep", "1.5", (), "def value(): return 666.0\n")
    say(tiny.edgepipe("env", "sync", "tiny"), "wrong_hash", tiny, golden, code=1)
    assert built(tiny) == []
    assert not (tiny.cache / "envs").exists() or not list((tiny.cache / "envs").iterdir())


def test_a_package_that_cannot_be_had(tiny: Folder, wheels: Path) -> None:
    next(wheels.glob("tinydep*")).unlink()
    # The rest of the words are pip's.
    done = tiny.edgepipe("env", "sync", "tiny")
    assert done.code == 1
    assert "error: the environment 'tiny' cannot be built: Could not find a version" in done.err
    assert built(tiny) == []
    before = lock_of(tiny).read_text()
    done = tiny.edgepipe("env", "lock", "tiny")
    assert done.code == 1
    assert "error: the environment 'tiny' cannot be locked: Could not find a version" in done.err
    assert lock_of(tiny).read_text() == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("not_toml", "python ="),
        ("unknown_setting", f"{TINY}pyhton = '3'\n"),
        ("no_python", "requirements = ['a']\n"),
        ("no_requirements", "python = '3.11'\n"),
        ("no_list", "python = '3.11'\nrequirements = 'a'\n"),
        ("no_text", "python = 3.11\nrequirements = ['a']\n"),
    ],
)
def test_a_toml_that_is_wrong(name: str, text: str, tiny: Folder, golden: Golden) -> None:
    tiny.write("configs/envs/tiny.toml", text)
    say(tiny.edgepipe("validate", "p.yaml"), f"toml_{name}", tiny, golden)
    doctor = tiny.edgepipe("doctor")
    assert doctor.code == 1
    assert "MISSING environment tiny" in doctor.out


def test_a_damaged_lock_is_said_and_can_be_made_again(tiny: Folder, golden: Golden) -> None:
    lock_of(tiny).write_text(lock_of(tiny).read_text().replace("sha256:", "md5:"))
    say(tiny.edgepipe("validate", "p.yaml"), "lock_damaged", tiny, golden)
    relock(tiny)
    assert tiny.edgepipe("validate", "p.yaml").code == 0


@pytest.mark.parametrize(
    ("requirement", "name"), [("--pre", "option"), ("tinylib; never", "marker")]
)
def test_a_requirement_that_is_none(
    requirement: str, name: str, tiny: Folder, golden: Golden
) -> None:
    tiny.write("configs/envs/tiny.toml", TINY.replace("tinylib>=1", requirement))
    done = tiny.edgepipe("env", "lock", "tiny")
    assert done.code in {1, 2}
    assert done.err.count("Traceback") == 0


def test_something_left_out_that_nothing_requires(tiny: Folder) -> None:
    tiny.write("configs/envs/tiny.toml", TINY + 'without = ["tinydpe"]\n')
    done = tiny.edgepipe("env", "lock", "tiny")
    assert done.code == 2
    assert "names tinydpe" in done.err


def test_an_interpreter_that_is_not_here(tiny: Folder, golden: Golden) -> None:
    tiny.write("configs/envs/tiny.toml", 'python = "3.99"\nrequirements = ["tinylib"]\n')
    say(tiny.edgepipe("env", "lock", "tiny"), "no_interpreter", tiny, golden)
    done = tiny.edgepipe("env", "lock", "tiny", "--python", sys.executable)
    assert done.code == 2
    assert "is no Python 3.99" in done.err


def test_rm_takes_a_digest_and_says_what_there_is(tiny: Folder) -> None:
    [made] = sync(tiny)
    assert tiny.edgepipe("env", "rm", "nothing").code == 2
    done = tiny.edgepipe("env", "rm", made["digest"][:12], "--json")
    assert done.json == {"removed": [made["digest"]]}
    assert built(tiny) == []
    wrong = tiny.edgepipe("env", "rm", "tiny")
    assert "no environment 'tiny' is built" in wrong.err


def test_those_of_other_projects_are_listed_too(tiny: Folder) -> None:
    sync(tiny)
    (tiny.cache / "envs" / "0123").mkdir()
    (tiny.path / "configs/envs/tiny.toml").rename(tiny.path / "configs/envs/renamed.toml")
    found = rows(tiny)
    assert found["tiny"]["state"] == "built"
    assert found["?"]["state"] == "unfinished"


def test_doctor_lists_environments(tiny: Folder) -> None:
    text = tiny.edgepipe("doctor").out
    assert "environment tiny" in text
    assert "edgepipe env sync tiny" in text
    assert "MISSING tinylib" not in text
    sync(tiny)
    line = next(x for x in tiny.edgepipe("doctor").out.splitlines() if "environment tiny" in x)
    assert "built, Python" in line


def test_an_interpreter_that_vanished_is_not_built(tiny: Folder) -> None:
    sync(tiny)
    [folder] = built(tiny)
    (folder / "bin" / "python").unlink()
    assert rows(tiny)["tiny"]["state"] == "not built"
    assert tiny.edgepipe("run", "p.yaml").code == 2
    assert sync(tiny)[0]["status"] == "built"


def other_interpreters() -> list[str]:
    found = []
    for minor in ("3.11", "3.12", "3.13"):
        if minor == "{}.{}".format(*sys.version_info):
            continue
        try:
            text = Path(os.devnull)
            interpreter(_asking(minor, text))
        except ConfigError:
            continue
        found.append(minor)
    return found


def _asking(minor: str, path: Path) -> Any:
    from edgepipe.environments import Environment

    return Environment("any", path, minor, ("tinylib",))


OTHERS = other_interpreters()


@pytest.mark.skipif(not OTHERS, reason="there is no other interpreter here")
@pytest.mark.parametrize("minor", OTHERS or ["none"])
def test_another_version_of_python(
    minor: str, project: Folder, wheels: Path, tmp_path: Path
) -> None:
    # Found before HOME is another for the tests.
    python = INTERPRETERS[minor]
    project.write("configs/envs/tiny.toml", f'python = "{minor}"\nrequirements = ["tinylib"]\n')
    project.write("p.yaml", PIPELINE)
    for action in ("lock", "sync"):
        done = project.edgepipe("env", action, "tiny", "--python", python)
        assert done.code == 0, done.err
    run(project)
    assert seen(project)["python"] == [int(part) for part in minor.split(".")]


INTERPRETERS = {minor: str(interpreter(_asking(minor, Path(os.devnull)))) for minor in OTHERS}


def test_the_built_in_environments_come_with_their_locks() -> None:
    for package in packages():
        for environment in Environments((package / "_envs",)).all():
            assert environment.lock
            assert environment.lock.asked == environment.asked
            assert environment.description


def test_a_built_in_one_is_locked_anew_in_the_project(project: Folder, wheels: Path) -> None:
    failed = project.edgepipe("env", "lock", "litert_torch")
    assert failed.code == 1
    assert not (project.path / "configs").exists()
    # Stand-ins for what it asks for and what it leaves out.
    shipped = read(next(package / "_envs" for package in packages()) / "litert_torch.toml")
    for name in shipped.without:
        wheel(wheels, name.replace("-", "_"), "1.0")
    wheel(wheels, "torch", "2.13.0")
    wheel(wheels, "packaging", "1.0")
    wheel(wheels, "ai_edge_quantizer", "0.10.7")
    wheel(wheels, "litert_torch", "0.10.9", [*shipped.without, "tinydep"])
    project.write("configs/envs/own.toml", TINY)
    done = project.edgepipe("env", "lock", "litert_torch", "own", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["packages"] == {
        "ai-edge-quantizer": "0.10.7",
        "litert-torch": "0.10.9",
        "packaging": "1.0",
        "tinydep": "1.5",
        "torch": "2.13.0",
    }
    own = project.path / "configs/envs/litert_torch.toml"
    assert own.read_bytes() == shipped.path.read_bytes()
    assert rows(project)["litert_torch"]["file"] == str(own)


def test_a_pipeline_names_what_to_build(tiny: Folder) -> None:
    tiny.write("configs/envs/other.toml", TINY)
    lock_of(tiny, "other").write_text(lock_of(tiny).read_text())
    tiny.write("q.yaml", PIPELINE.replace("uses: foreign", "uses: numbers").split("    with")[0])
    assert sync(tiny, "q.yaml") == []
    assert [made["name"] for made in sync(tiny, "p.yaml")] == ["tiny"]
    # Without names, all of the project; with equal locks they are one.
    done = tiny.edgepipe("env", "sync")
    assert done.out.startswith("other is built already: ")
    assert "\ntiny is built already: " in done.out
