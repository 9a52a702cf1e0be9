"""The shared store: what one pushes, another fetches, byte for byte, over every backend."""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from projects import Folder
from remotes import (
    TEAM_KEY,
    bucket,
    content,
    credentials,
    key,
    misbehaving,
    remote,
    result,
    s3_server,
    web_server,
    within,
)

from edgepipe.cli import _remote
from edgepipe.errors import ConfigError, EdgepipeError
from edgepipe.fetching import Fetcher
from edgepipe.project import find
from edgepipe.remote import Remote, RemoteError
from edgepipe.store import Store

Open = Callable[..., Remote]


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)


@pytest.fixture(params=["folder", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one and the same remote, again and again."""
    settings: dict[str, Any] = {}
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3")
        url, _ = bucket(endpoint)
        settings["endpoint"] = endpoint
    else:
        url = str(tmp_path / "shared")
    opened: list[Remote] = []

    def open_it(**more: Any) -> Remote:
        opened.append(remote(tmp_path / "project", url, **settings, **more))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return Store(tmp_path / "mine"), Store(tmp_path / "theirs")


def test_what_one_pushes_another_fetches(
    shared: Open, stores: tuple[Store, Store], tmp_path: Path
) -> None:
    mine, theirs = stores
    large = bytes(range(256)) * 4096 * 3
    records = [
        result(mine, "plain"),
        result(mine, "many", a={"x": b"1", "y/z": b"2"}, b={"x": b"1", "large": large}),
    ]
    assert str(shared().traffic.text()) == "down nothing; up nothing"
    first = shared()
    assert first.push(records, mine) == {r.key: "uploaded" for r in records}
    assert first.warnings == []
    # Equal files travel once: value, empty, 1, 2, large, and three trees.
    assert first.traffic.objects_up == 8
    assert first.traffic.records_up == 2
    second = shared()
    fetched = second.fetch_many([r.key for r in records] + [key("nobody's")], theirs)
    assert fetched == {r.key: r for r in records}
    assert second.warnings == []
    assert second.traffic.objects_down == 8
    assert second.traffic.bytes_down == first.traffic.bytes_up > len(large)
    for number, record in enumerate(records):
        assert theirs.record(record.key) == record
        expected = content(mine, record, tmp_path / f"mine {number}")
        assert content(theirs, record, tmp_path / f"theirs {number}") == expected
    assert not [path for path in (theirs.root / "tmp").rglob("*") if len(path.name) == 64]


def test_what_is_there_is_not_uploaded_again(shared: Open, stores: tuple[Store, Store]) -> None:
    mine, _ = stores
    record = result(mine, "a", out={"x": b"same", "y": b"other"})
    shared().push([record], mine)
    again = shared()
    more = result(mine, "b", out={"x": b"same"})
    assert again.push([record, more], mine) == {record.key: "there", more.key: "uploaded"}
    assert again.traffic.objects_up == 1


def test_what_is_here_is_not_fetched_again(shared: Open, stores: tuple[Store, Store]) -> None:
    mine, theirs = stores
    shared().push([result(mine, "a", out={"x": b"same", "y": b"other"})], mine)
    result(theirs, "b", out={"x": b"same"})
    again = shared()
    assert again.fetch(key("a"), theirs) is not None
    # y and the tree.
    assert again.traffic.objects_down == 2


def test_what_a_fetch_checked_is_known_to_the_runs_store(
    shared: Open, stores: tuple[Store, Store]
) -> None:
    mine, theirs = stores
    one = shared()
    record = result(mine, "a")
    one.push([record], mine)
    fetcher = Fetcher(one, theirs)
    fetcher.ask([record.key, key("nobody's")])
    over: list[str] = []
    while fetcher:
        over += fetcher.over(5)
    assert sorted(over) == sorted([record.key, key("nobody's")])
    for file in theirs.tree(record.outputs["out"].tree).files:
        found = theirs.object_path(file.digest).stat()
        assert theirs.objects.verified.matches(file.digest, found)


def test_a_file_of_many_parts(s3: str, stores: tuple[Store, Store], tmp_path: Path) -> None:
    mine, theirs = stores
    url, client = bucket(s3)
    body = bytes(range(251)) * 70_000
    record = result(mine, "big", out={"weights": body})
    one = remote(tmp_path / "project", url, endpoint=s3)
    assert one.push([record], mine) == {record.key: "uploaded"}
    name = url.split("/")[2]
    (digest,) = (f.digest for f in mine.tree(record.outputs["out"].tree).files)
    head = client.head_object(Bucket=name, Key=f"team/cache/objects/{digest[:2]}/{digest[2:]}")
    # It was an upload of parts.
    assert head["ETag"].strip('"').endswith("-3")
    assert client.list_multipart_uploads(Bucket=name).get("Uploads", []) == []
    assert one.fetch(record.key, theirs) == record
    assert theirs.object_path(digest).read_bytes() == body
    one.close()


def test_a_web_server_for_reading(stores: tuple[Store, Store], tmp_path: Path) -> None:
    mine, theirs = stores
    records = [result(mine, f"r{number}") for number in range(5)]
    remote(tmp_path / "project", str(tmp_path / "site" / "cache")).push([], mine)
    (tmp_path / "site").mkdir()
    remote(tmp_path / "project", str(tmp_path / "site" / "cache")).push(records, mine)
    with web_server(tmp_path / "site") as url:
        web = remote(tmp_path / "project", f"{url}/cache/")
        assert not web.writable
        assert web.fetch_many([r.key for r in records] + [key("none")], theirs) == {
            r.key: r for r in records
        }
        assert web.warnings == []
        web.offer(records[0], mine)
        assert web.flush(1) == 0
        with pytest.raises(RemoteError, match="for reading only"):
            web.push(records, mine)
        with pytest.raises(RemoteError, match="a web server does not list what it has"):
            list(web.keys())
        web.close()


def test_results_are_offered_in_the_background(shared: Open, stores: tuple[Store, Store]) -> None:
    mine, theirs = stores
    one = shared()
    records = [result(mine, f"r{number}") for number in range(20)]
    for record in records:
        one.offer(record, mine)
    assert one.flush(30) == 0
    assert one.traffic.records_up == 20
    assert sorted(one.keys()) == sorted(record.key for record in records)
    assert len(shared().fetch_many([r.key for r in records], theirs)) == 20


def test_a_folder_takes_large_files(stores: tuple[Store, Store], tmp_path: Path) -> None:
    mine, theirs = stores
    record = result(mine, "big", out={"weights": bytes(range(251)) * 150_000})
    one = remote(tmp_path / "project", (tmp_path / "shared").as_uri())
    assert one.push([record], mine) == {record.key: "uploaded"}
    assert one.traffic.text().startswith("down nothing; up 1 result, 2 objects, 37.7 MB")
    assert one.fetch(record.key, theirs) == record
    for path in (tmp_path / "shared").rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o444


def test_results_of_another_version_are_left_alone(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    mine, theirs = stores
    record = result(mine, "a")
    one = remote(tmp_path / "project", "../shared")
    path = tmp_path / "shared" / "records" / record.key[:2] / record.key[2:]
    path.parent.mkdir(parents=True)
    path.write_text('{"edgepipe": 99, "record": {}}')
    assert one.fetch(record.key, theirs) is None
    one.offer(record, mine)
    assert one.flush(10) == 0
    assert path.read_text() == '{"edgepipe": 99, "record": {}}'
    assert one.warnings == [
        f"the remote {one.shown} has results of another version of edgepipe (and 1 more like it)"
    ]


def test_a_read_only_remote_gets_nothing(shared: Open, stores: tuple[Store, Store]) -> None:
    mine, _ = stores
    one = shared(read_only=True)
    one.offer(result(mine, "a"), mine)
    assert one.flush(5) == 0
    assert list(shared().keys()) == []
    with pytest.raises(RemoteError, match="for reading only"):
        one.push([], mine)


def test_the_first_of_two_results_stays(shared: Open, stores: tuple[Store, Store]) -> None:
    mine, theirs = stores
    first = result(mine, "a", out={"x": b"first"})
    shared().push([first], mine)
    second = result(theirs, "a", out={"x": b"second"})
    assert shared().push([second], theirs) == {second.key: "there"}
    assert shared().records([first.key]) == {first.key: first}


def test_a_thousand_lookups_are_not_made_one_by_one(tmp_path: Path) -> None:
    def slow(asked: Any) -> None:
        time.sleep(0.05)
        asked.head(404, 0)

    with misbehaving(slow) as (url, asked):
        one = remote(tmp_path / "project", url)
        with within(200 * 0.05 / 2):
            assert one.records(key(str(number)) for number in range(200)) == {}
        assert len(asked) == 200
        assert one.warnings == []
        one.close()


def test_explanations_travel_and_are_not_needed(shared: Open, stores: tuple[Store, Store]) -> None:
    mine, theirs = stores
    note = result(mine, "note", out={"n": b'{"why":1}'})
    (there,) = (f.digest for f in mine.tree(note.outputs["out"].tree).files)
    record = replace(result(mine, "a"), manifests={"code": there, "gone": key("nowhere")})
    mine.put_record(record)
    assert shared().push([record], mine) == {record.key: "uploaded"}
    assert shared().fetch(record.key, theirs) == record
    assert theirs.object_path(there).read_bytes() == b'{"why":1}'
    assert not theirs.object_path(key("nowhere")).exists()


def test_nothing_is_imported_before_it_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom edgepipe.project import Project\n"
        "from edgepipe.remote import Remote\n"
        "table = {'url': 's3://bucket/prefix'}\n"
        "assert Remote.open(Project(Path('.'), (), Path('cache'), remote=table))\n"
        "assert not {'fsspec', 's3fs', 'aiohttp', 'botocore', 'asyncio'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


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
        ("url = 'http://h:port/x'", "the remote's URL has a port that is none", "a folder"),
    ],
)
def test_wrong_settings(tmp_path: Path, table: str, message: str, hint: str) -> None:
    (tmp_path / "edgepipe.toml").write_text(f"[remote]\n{table}\n")
    with pytest.raises(ConfigError) as caught:
        Remote.open(find(tmp_path))
    (problem,) = caught.value.problems
    assert problem.message == message
    assert hint in problem.hint


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
    assert opened.shown.endswith("/../team")
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
    assert list(remote(tmp_path / "project", "../shared").keys()) == [record.key]


def cli(verb: str, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    getattr(_remote, f"configure_{verb}")(parser)
    return parser.parse_args(arguments)


PIPELINE = """
edgepipe: 1
name: p
stages:
  first: {uses: numbers}
  twice: {uses: double, in: {values: first}}
  again: {uses: double, in: {values: twice}}
  other: {uses: numbers, with: {count: 9}}
"""


def test_the_second_clone_runs_nothing(
    project: Folder, tmp_path: Path, s3: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = bucket(s3)
    project.write("edgepipe.toml", f"[remote]\nurl = '{url}'\nendpoint = '{s3}'\n")
    project.write("p.yaml", PIPELINE)
    assert project.edgepipe("run", "p.yaml").code == 0
    assert len(project.trace()) == 4
    assert _remote.push(cli("push", "p.yaml", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    # The run has uploaded them.
    assert (said["uploaded"], said["there"], said["failed"]) == (0, 4, 0)
    assert said["remote"] == url
    # A colleague, with a cache of their own.
    (project.path / "trace.jsonl").unlink()
    other = project.edgepipe("run", "p.yaml", "--json", "--cache", tmp_path / "other")
    assert {node["status"] for node in other.json["nodes"]} == {"cached"}
    assert project.trace() == []
    cache = tmp_path / "colleague"
    assert _remote.pull(cli("pull", "p.yaml", "--cache", str(cache))) == 0
    assert capsys.readouterr().out.startswith(f"4 pulled, 0 there already ({url}; down 4 results")
    done = project.edgepipe("run", "p.yaml", "--json", "--cache", cache)
    assert done.code == 0
    assert {node["status"] for node in done.json["nodes"]} == {"cached"}
    assert project.trace() == []
    assert _remote.pull(cli("pull", "p.yaml", "--cache", str(cache), "--json")) == 0
    assert json.loads(capsys.readouterr().out)["there"] == 4


def test_pull_goes_as_far_as_the_remote_does(
    project: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    project.write("p.yaml", PIPELINE)
    assert project.edgepipe("run", "p.yaml", "--until", "twice").code == 0
    assert _remote.push(cli("push", "p.yaml")) == 0
    cache = str(tmp_path / "colleague")
    planned = project.edgepipe("plan", "p.yaml", "--cache", cache)
    assert {tuple(line.split()[:2]) for line in planned.out.splitlines()[:4]} == {
        ("remote", "first"),
        ("remote", "twice"),
        ("runs", "again"),
        ("runs", "other"),
    }
    assert "0 cached, 2 to fetch, 2 to run" in planned.out
    assert not (tmp_path / "colleague" / "records").exists()
    assert _remote.pull(cli("pull", "p.yaml", "--cache", cache, "--json")) == 0
    said = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (said["pulled"], said["missing"]) == (2, 2)


def test_push_and_pull_without_a_pipeline(
    project: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    store = Store(project.cache)
    records = [result(store, name) for name in "abc"]
    assert _remote.push(cli("push", records[0].key[:12], records[1].key)) == 0
    assert capsys.readouterr().out.startswith("2 uploaded, 0 there already")
    assert _remote.push(cli("push")) == 0
    assert capsys.readouterr().out.startswith("1 uploaded, 2 there already")
    cache = tmp_path / "colleague"
    assert _remote.pull(cli("pull", "--cache", str(cache))) == 0
    assert list(Store(cache).records.keys()) == sorted(record.key for record in records)
    with pytest.raises(ConfigError, match="no key that begins with 'abcdefabcdef'"):
        _remote.push(cli("push", "abcdefabcdef"))


def test_what_is_not_whole_is_said(project: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    store = Store(project.cache)
    one, two = result(store, "a"), result(store, "b")
    store.object_path(one.outputs["out"].tree).unlink()
    assert _remote.push(cli("push")) == 0
    assert capsys.readouterr().out.startswith(
        "1 uploaded, 0 there already, 1 not whole in the cache ("
    )
    assert _remote.push(cli("push", one.key)) == 1
    assert _remote.push(cli("push", two.key)) == 0


def test_progress_is_shown_on_a_terminal(project: Folder) -> None:
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\n")
    result(Store(project.cache), "a")
    code = (
        "import argparse, sys\nfrom edgepipe.cli import _remote\np = argparse.ArgumentParser()\n"
        "_remote.configure_push(p)\nsys.exit(_remote.push(p.parse_args([])))\n"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert shown.startswith("\r\x1b[Kpushed 0 of 1: down nothing; up ")
    assert shown.endswith("\r\x1b[K")
    assert done.stdout.startswith(b"1 uploaded, 0 there already")


def test_push_and_pull_need_a_remote_that_can_be_used(project: Folder) -> None:
    with pytest.raises(ConfigError, match="the project has no remote"):
        _remote.push(cli("push"))
    project.write("edgepipe.toml", "[remote]\nurl = '../team'\nrequire_signed = true\n")
    with pytest.raises(EdgepipeError, match="its records have to be signed"):
        _remote.pull(cli("pull"))
    project.write("edgepipe.toml", "[remote]\nurl = 'https://127.0.0.1:9/x'\n")
    with pytest.raises(RemoteError, match="for reading only"):
        _remote.push(cli("push"))
    project.write("edgepipe.toml", "[remote]\nurl = '/nowhere/at/all'\n")
    with pytest.raises(RemoteError, match="there is no such folder"):
        _remote.pull(cli("pull"))
    result(Store(project.cache), "a")
    assert _remote.push(cli("push")) == 1
