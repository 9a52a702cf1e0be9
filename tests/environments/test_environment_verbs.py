"""Listing, removing and naming environments; other interpreters."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import Folder
from small_wheels import wheel
from tiny_environments import PIPELINE, TINY, built, lock_of, rows, run, seen, sync

from edgepipe.environments import Environments, read
from edgepipe.environments.pip import interpreter
from edgepipe.errors import ConfigError
from edgepipe.kinds import packages


def test_rm_takes_a_digest_and_says_what_there_is(tiny: Folder) -> None:
    [made] = sync(tiny)
    assert tiny.edgepipe("env", "rm", "nothing").code == 2
    done = tiny.edgepipe("env", "rm", made["digest"][:12], "--json")
    assert done.json == {"removed": [made["digest"]]}
    assert built(tiny) == []
    wrong = tiny.edgepipe("env", "rm", "tiny")
    assert "no environment 'tiny' is built" in wrong.err
    assert "there is nothing to remove" in wrong.err
    assert "did you mean" not in wrong.err


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
