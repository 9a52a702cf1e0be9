"""What is wrong with an environment is said, with the command that mends it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from projects import GOLDEN, Finished, Folder, Golden
from small_wheels import wheel
from tiny_environments import PIPELINE, TINY, built, lock_of, relock, rows


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


@pytest.mark.parametrize("python", ["3.9", "3.10.4"])
def test_a_python_that_stages_do_not_run_in(tiny: Folder, python: str) -> None:
    tiny.write("configs/envs/tiny.toml", f'python = "{python}"\nrequirements = ["tinylib"]\n')
    done = tiny.edgepipe("env", "lock", "tiny")
    assert done.code == 2
    assert f"tiny.toml:1:1: error: stages do not run in Python {python}" in done.err
    assert "3.11 is the oldest" in done.err


def test_an_interpreter_that_is_not_here(tiny: Folder, golden: Golden) -> None:
    tiny.write("configs/envs/tiny.toml", 'python = "3.99"\nrequirements = ["tinylib"]\n')
    say(tiny.edgepipe("env", "lock", "tiny"), "no_interpreter", tiny, golden)
    done = tiny.edgepipe("env", "lock", "tiny", "--python", sys.executable)
    assert done.code == 2
    assert "is no Python 3.99" in done.err
