"""A secret in the environment, or named by a parameter: in no log, key, record or report."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Folder

VALUE = "hf_s3cr3t/Value+of=the.team"

FETCH = '''\
"""fetch: a stage that needs a token."""

import os

from _values import Numbers

from edgepipe.stage import Context, Params, Secret, Stage, StageError


class Login(Params):
    """Who asks."""

    token: Secret | None = None


class Fetch(Stage):
    """Fetch with a token."""

    outputs = {"values": Numbers}

    token: Secret
    login: Login = Login()
    how: str = "well"

    def run(self, ctx: Context) -> None:
        value = ctx.secret(self.token)
        print("the token is", value)
        ctx.log(f"asking with {value}")
        ctx.warn(f"https://user:{value}@host is slow")
        os.write(2, f"native: {value}\\n".encode())
        if self.how == "raises":
            raise StageError(f"{value} was refused", f"is {value} the right one?")
        if self.how == "breaks":
            raise ValueError(value)
        if self.how == "dies":
            os.kill(os.getpid(), 9)
        ctx.save("values", [len(value)])
'''


@pytest.fixture
def fetch(project: Folder) -> Folder:
    project.write("plugins/fetch.py", FETCH)
    return project


def pipeline(project: Folder, how: str, token: str = "TEAM_TOKEN") -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        f"  f: {{uses: fetch, with: {{token: {token}, how: {how}, login: {{token: OTHER_TOKEN}}}}}}\n",
    )


def holding(project: Folder, value: str = VALUE) -> list[str]:
    """Files of the project and of the cache that hold a secret."""
    return [name for name, body in project.files().items() if value.encode() in body]


@pytest.mark.parametrize("how", ["well", "raises", "breaks", "dies"])
def test_a_secret_is_kept_nowhere(fetch: Folder, how: str) -> None:
    pipeline(fetch, how)
    env = {"TEAM_TOKEN": VALUE, "AWS_SECRET_ACCESS_KEY": "aws-" + VALUE}
    done = fetch.edgepipe("run", "p.yaml", "--plain", **env)
    assert done.code == (0 if how == "well" else 1), done.out + done.err
    said = done.out + done.err
    said += (
        fetch.edgepipe("show", "--json", **env).out + fetch.edgepipe("plan", "p.yaml", **env).out
    )
    said += fetch.edgepipe("why", "p.yaml", "f", "--json", **env).out
    assert VALUE not in said
    assert holding(fetch) == []
    [log] = fetch.path.glob(".edgepipe/runs/*/logs/f.log")
    assert log.read_text().startswith("the token is •••\n")
    assert "native: •••" in log.read_text()


def test_another_value_is_the_same_result(fetch: Folder) -> None:
    pipeline(fetch, "well")
    assert fetch.edgepipe("run", "p.yaml", TEAM_TOKEN=VALUE).code == 0
    again = fetch.edgepipe("run", "p.yaml", "--json", TEAM_TOKEN="rotated-since")
    assert [node["status"] for node in again.json["nodes"]] == ["cached"]
    # Who has the result needs no token.
    assert fetch.edgepipe("plan", "p.yaml", "--check").code == 0


def test_a_variable_that_is_not_set(fetch: Folder) -> None:
    pipeline(fetch, "well")
    done = fetch.edgepipe("run", "p.yaml", "--plain")
    assert done.code == 1
    assert "the environment variable TEAM_TOKEN is not set" in done.out


def test_a_secret_that_was_pasted_is_refused_and_not_repeated(fetch: Folder) -> None:
    pipeline(fetch, "well", VALUE)
    done = fetch.edgepipe("run", "p.yaml")
    assert done.code == 2
    assert "p.yaml:4:34: error: this is no name of an environment variable" in done.err
    assert VALUE not in done.out + done.err
    (fetch.path / "p.yaml").unlink()
    assert holding(fetch) == []
    assert not Path(fetch.path / ".edgepipe" / "runs").exists()
