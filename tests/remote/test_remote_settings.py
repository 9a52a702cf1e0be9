"""How a remote is named, and which keys it needs."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from remote_fixtures import Open
from remotes import (
    TEAM_KEY,
    remote,
    result,
)

from edgepipe.errors import ConfigError
from edgepipe.project import find
from edgepipe.remote import Remote
from edgepipe.store import Store


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ("url = 3", "'remote.url' must be a text", "like 's3://bucket/prefix'"),
        ("read_only = 1", "'remote.read_only' must be true or false", ""),
        ("timeout = 0", "'remote.timeout' must be a number of seconds", "like 10"),
        ("timeout = true", "'remote.timeout' must be a number of seconds", "like 10"),
        ("ulr = 'x'", "unknown setting 'remote.ulr'", "did you mean 'url'?"),
        ("url = 'ftp://host/x'", "a remote cannot be at 'ftp://…'", "remotes: a folder, s3://"),
        ("url = 's3:///x'", "no bucket is named", "remotes: a folder"),
        ("url = 'file://host/x'", "the remote file://host/ names a host", "remotes: a folder"),
        ("url = 'https://u:p[w@h/x'", "the remote's URL is none: a character", "a folder"),
        ("url = 'https://u:s3cr℀et@h/x'", "the remote's URL is none: a character", "a folder"),
        ("url = 's3://bucket/team#1'", "the remote's URL has a part after # or ?", "write %23"),
        ("url = 's3://bucket/x?s3cret'", "the remote's URL has a part after # or ?", "'endpoint'"),
        ("url = 'file:///srv/team#1'", "the remote's URL has a part after # or ?", "write %23"),
        ("url = 'https://h/team#1'", "the remote's URL has a part after # or ?", "write %23"),
        ("url = '~no-such-user/x'", "'~no-such-user/x' names a home that is not", "in full"),
        ("url = 'x'\nsigning_key_file = '~no-such-user/k'", "'~no-such-user/k' names", "in full"),
        ("endpoint = 'minio:9000'", "'remote.endpoint' must be a URL", "like 'https://"),
        ("endpoint = 'https://'", "'remote.endpoint' must be a URL", "like 'https://"),
        ("url = 'http://h:port/x'", "the remote's URL has a port that is none", "a folder"),
    ],
)
def test_wrong_settings(tmp_path: Path, table: str, message: str, hint: str) -> None:
    (tmp_path / "edgepipe.toml").write_text(f"[remote]\n{table}\n")
    with pytest.raises(ConfigError) as caught:
        Remote.open(find(tmp_path))
    (problem,) = caught.value.problems
    assert problem.message.startswith(message)
    assert hint in problem.hint
    shown = "".join(traceback.format_exception(caught.value))
    assert "p[w" not in shown
    assert "s3cr" not in shown


def test_a_wrong_setting_of_a_remote_is_shown_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "edgepipe.toml"
    path.write_text("cache = 'ulr'\n\n[remote]\nurl = 'x'\nulr = 'x'\n")
    with pytest.raises(ConfigError) as caught:
        Remote.open(find(tmp_path))
    assert caught.value.render().startswith(f"{path}:5:1: error: unknown setting 'remote.ulr'")


def test_a_remote_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "edgepipe.toml").write_text("remote = 's3://bucket'\n")
    with pytest.raises(ConfigError, match="'remote' must be a table"):
        find(tmp_path)


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edgepipe.toml").write_text("[remote]\nurl = '../team'\n")
    project = find(tmp_path)
    opened = Remote.open(project)
    assert opened is not None
    assert opened.shown == str(tmp_path.parent / "team")
    monkeypatch.setenv("EDGEPIPE_REMOTE", "s3://other/place/")
    opened = Remote.open(project)
    assert opened is not None
    assert opened.shown == "s3://other/place"
    monkeypatch.setenv("EDGEPIPE_REMOTE", "")
    assert Remote.open(project) is None


def test_without_a_remote_there_is_none(tmp_path: Path) -> None:
    assert Remote.open(find(tmp_path)) is None


@pytest.mark.parametrize("keys", [TEAM_KEY, f"{TEAM_KEY}\n{'old-' * 8}"])
def test_a_key_from_a_file_signs(
    shared: Open, stores: tuple[Store, Store], tmp_path: Path, keys: str
) -> None:
    mine, theirs = stores
    record = result(mine, "a")
    (tmp_path / "old.key").write_text("old-" * 8)
    (tmp_path / "team.key").write_text(keys)
    shared(signing_key_file="../old.key").push([record], mine)
    one = shared(signing_key_file="../team.key")
    # With the old key beside the new one, what was signed before is still good.
    assert (one.fetch(record.key, theirs) == record) is ("\n" in keys)
    assert one.push([record], mine) == {record.key: "there" if "\n" in keys else "uploaded"}
    again = shared(signing_key_file="../team.key")
    assert again.records([record.key]) == {record.key: record}


def test_a_key_that_is_too_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", "short")
    with pytest.raises(ConfigError, match="fewer than 16 characters") as caught:
        remote(tmp_path / "project", "../shared")
    assert "short" not in str(caught.value)
    assert "secrets.token_hex" in caught.value.render()


def test_a_key_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPIPE_SIGNING_KEY", os.fsdecode(b"\xff\xfe" * 16))
    with pytest.raises(ConfigError, match="EDGEPIPE_SIGNING_KEY is no text"):
        remote(tmp_path / "project", "../shared")


@pytest.mark.parametrize("settings", [{"require_signed": True}, {"signing_key_file": "none"}])
def test_without_the_key_a_signed_remote_is_not_used(
    tmp_path: Path, stores: tuple[Store, Store], settings: dict[str, Any]
) -> None:
    mine, theirs = stores
    record = result(mine, "a")
    remote(tmp_path / "project", "../shared").push([record], mine)
    one = remote(tmp_path / "project", "../shared", **settings)
    assert one.fetch(record.key, theirs) is None
    one.offer(result(mine, "b"), mine)
    assert one.flush(5) == 1
    assert "its records have to be signed, and no key is set" in one.warnings[0]
    assert ("nor is there" in one.warnings[0]) is ("signing_key_file" in settings)
    assert list(remote(tmp_path / "project", "../shared").keys()) == [record.key]
