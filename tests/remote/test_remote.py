"""The shared store: what one pushes, another fetches, byte for byte, over every backend."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from remote_fixtures import Open
from remotes import (
    bucket,
    content,
    key,
    misbehaving,
    remote,
    result,
    web_server,
    within,
)

from edgepipe.remote import RemoteError
from edgepipe.runner.fetching import Fetcher
from edgepipe.store import Store


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
    # What explains a folder of a million files is larger than anybody would fetch.
    large = mine.put_bytes(bytes((64 << 20) + 1))
    notes = {"code": there, "gone": key("nowhere"), "contents.data": large}
    record = replace(result(mine, "a"), manifests=notes)
    mine.put_record(record)
    one = shared()
    assert one.push([record], mine) == {record.key: "uploaded"}
    assert one.traffic.bytes_up < 1 << 20
    one = shared()
    assert one.fetch(record.key, theirs) == record
    assert one.warnings == []
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
