"""Passwords and keys are used, and shown nowhere."""

from __future__ import annotations

import pytest
from misbehaviour import fail
from remotes import (
    SECRET,
    TEAM_KEY,
    Asked,
    bucket,
    key,
    misbehaving,
    result,
)
from teams import PASSWORD, Team

from edgepipe.errors import EdgepipeError
from edgepipe.project import Project


def test_a_password_in_the_url_is_used_and_shown_nowhere(team: Team) -> None:
    import base64

    seen: list[str] = []

    def answer(asked: Asked) -> None:
        seen.append(str(asked.headers.get("Authorization")))
        asked.head(500, 0)

    with misbehaving(answer) as (url, asked):
        host = url.removeprefix("http://")
        secret = f"http://user:{PASSWORD}@{host}/cache?token=also-secret"
        one = team.remote(secret)
        assert one.fetch(key("a"), team.theirs) is None
        project = Project(team.root, (), team.root / "cache", remote={"url": secret})
    assert seen[0] == "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    assert asked[0].endswith("?token=also-secret")
    assert one.shown == f"{url}/cache"
    for text in (*one.warnings, repr(one.settings), repr(one), repr(project), str(one.traffic)):
        assert PASSWORD not in text
        assert "also-secret" not in text


def test_who_logs_in_goes_through_the_proxy_too(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    seen: list[tuple[str, str | None]] = []

    def answer(asked: Asked) -> None:
        seen.append((asked.path, asked.headers.get("Authorization")))
        asked.head(404, 0)

    with misbehaving(answer) as (url, _):
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        # A token that is all of the password has no user.
        one = team.remote(f"http://:{PASSWORD}@registry.invalid/cache")
        assert one.fetch(key("a"), team.theirs) is None
        assert one.warnings == []
        monkeypatch.setenv("no_proxy", "registry.invalid")
        two = team.remote(f"http://:{PASSWORD}@registry.invalid/cache", timeout=2)
        assert two.fetch(key("a"), team.theirs) is None
        assert two.warnings
    ((path, login),) = seen
    assert path.startswith("http://registry.invalid/cache/records/")
    assert login == "Basic " + base64.b64encode(f":{PASSWORD}".encode()).decode()


def test_a_password_is_not_carried_to_where_a_server_points(team: Team) -> None:
    record = result(team.mine, "a")
    team.remote().push([record], team.mine)
    carried: list[object] = []

    def give(asked: Asked) -> None:
        carried.append(asked.headers.get("Authorization"))
        body = (team.shared / asked.path.lstrip("/")).read_bytes()
        asked.head(200, len(body))
        asked.body(body)

    with misbehaving(give) as (there, _):

        def point(asked: Asked) -> None:
            asked.handler.send_response(302)
            asked.handler.send_header("Location", there + asked.path)
            asked.handler.send_header("Content-Length", "0")
            asked.handler.end_headers()

        with misbehaving(point) as (url, _):
            one = team.remote(url.replace("http://", f"http://user:{PASSWORD}@"))
            assert one.fetch(record.key, team.theirs) == record
    assert set(carried) == {None}


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_errors_tell_no_secret(
    team: Team, verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import argparse
    import logging

    from edgepipe.cli import _remote

    monkeypatch.chdir(team.root)
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", TEAM_KEY)
    monkeypatch.setenv("EDGEPIPE_CACHE", str(team.mine.root))
    result(team.mine, "a")
    logging.basicConfig(level=logging.WARNING, force=True)
    with misbehaving(fail) as (url, _):
        host = url.removeprefix("http://")
        monkeypatch.setenv("EDGEPIPE_REMOTE", f"s3://AKIA:{PASSWORD}@bucket/x")
        (team.root / "edgepipe.toml").write_text(f"[remote]\nendpoint = 'http://{host}'\n")
        parser = argparse.ArgumentParser()
        getattr(_remote, f"configure_{verb}")(parser)
        try:
            assert getattr(_remote, verb)(parser.parse_args([])) == 1
        except EdgepipeError as error:
            print(error.render())
    said = "".join(capfd.readouterr())
    assert "it answered 500" in said
    for secret in (PASSWORD, SECRET, TEAM_KEY):
        assert secret not in said


def test_no_secret_is_in_what_is_shared(
    team: Team, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", TEAM_KEY)
    url, client = bucket(s3)
    name = url.split("/")[2]
    one = team.remote(url.replace("s3://", f"s3://AKIA:{PASSWORD}@"), endpoint=s3)
    assert set(one.push([result(team.mine, "a")], team.mine).values()) == {"uploaded"}
    listed = client.list_objects_v2(Bucket=name)["Contents"]
    assert len(listed) == 4
    for item in listed:
        answer = client.get_object(Bucket=name, Key=item["Key"])
        text = str(answer["Metadata"]).encode() + answer["Body"].read()
        for secret in (PASSWORD, TEAM_KEY, SECRET, "AKIA"):
            assert secret.encode() not in text
