"""The store: what goes in comes out, damage is noticed, nothing is half there."""

from __future__ import annotations

import json
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from projects import GOLDEN

from edgepipe.digest import canonical, digest_bytes
from edgepipe.errors import StoreError
from edgepipe.planner.fitting import metrics_of
from edgepipe.store import Output, Record, Store, Tree

PINNED = json.loads((GOLDEN / "digests" / "pinned.json").read_text(encoding="utf-8"))
FILES = {"a.txt": b"one", "deep/er/b.bin": bytes(1000), "deep/empty": b"", "é ü\n": b"odd name"}
KEY = "ab" + "0" * 62


def put(store: Store, files: dict[str, bytes]) -> Tree:
    folder = store.staging()
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return store.put_tree(folder)


def objects(store: Store) -> list[Path]:
    return sorted(p for p in (store.root / "objects").rglob("*") if p.is_file())


def object_of(store: Store, digest: str) -> Path:
    return store.root / "objects" / digest[:2] / digest[2:]


def record(tree: str) -> Record:
    return Record(
        key=KEY,
        kind="numbers",
        made_of={"params": {"count": 3}},
        outputs={"values": Output("Numbers", tree, 3)},
        metrics={"total": 3.0},
        seconds=1.5,
        cpu_seconds=2.5,
        peak_memory=1000,
        created=1.0,
    )


def test_a_tree_goes_in_and_comes_out(store: Store, tmp_path: Path) -> None:
    tree = put(store, FILES)
    assert tree.digest == PINNED["tree"]
    assert tree.size == sum(map(len, FILES.values()))
    assert store.tree(tree.digest) == tree
    for name, lay_out in (("linked", store.link), ("copied", store.copy)):
        lay_out(tree.digest, tmp_path / name)
        found = {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        assert found == FILES


def test_files_are_moved_and_equal_ones_kept_once(store: Store) -> None:
    folder = store.staging()
    (folder / "a").write_bytes(b"same")
    (folder / "b").write_bytes(b"same")
    inode = (folder / "a").stat().st_ino
    tree = store.put_tree(folder)
    assert not list(folder.iterdir())
    assert len(objects(store)) == 2
    assert tree.files[0].digest == tree.files[1].digest
    assert object_of(store, tree.files[0].digest).stat().st_ino in {inode, inode + 1}


def test_a_tree_is_known_by_content_alone(store: Store) -> None:
    first = put(store, FILES)
    assert put(store, dict(reversed(FILES.items()))).digest == first.digest
    for name in FILES:
        assert put(store, {**FILES, name: b"changed"}).digest != first.digest
        renamed = {key if key != name else key + "x": body for key, body in FILES.items()}
        assert put(store, renamed).digest != first.digest
    assert put(store, {"ab": b"c"}).digest != put(store, {"a": b"bc"}).digest


def test_objects_are_read_only_and_copies_are_not(store: Store, tmp_path: Path) -> None:
    tree = put(store, FILES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in objects(store)} == {0o444}
    store.copy(tree.digest, tmp_path / "out")
    copy = tmp_path / "out" / "a.txt"
    assert copy.stat().st_nlink == 1
    copy.write_bytes(b"the user's own")
    assert object_of(store, tree.files[0].digest).read_bytes() == b"one"


def test_where_links_cannot_be_made_files_are_copied(store: Store, tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    import tempfile

    tree = put(store, FILES)
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        store.link(tree.digest, Path(folder) / "in")
        assert (Path(folder) / "in" / "a.txt").read_bytes() == b"one"


def test_a_record_goes_in_and_comes_out(store: Store) -> None:
    tree = put(store, FILES)
    assert store.record(KEY) is None
    store.put_record(record(tree.digest))
    assert store.record(KEY) == record(tree.digest)
    newer = replace(record(tree.digest), seconds=9.0)
    store.put_record(newer)
    assert store.record(KEY) == newer


@pytest.mark.parametrize("damage", ["missing file", "truncated file", "missing tree", "wrong tree"])
def test_a_record_counts_only_while_its_objects_are_whole(store: Store, damage: str) -> None:
    tree = put(store, FILES)
    store.put_record(record(tree.digest))
    path = object_of(store, tree.digest if "tree" in damage else tree.files[2].digest)
    body = path.read_bytes()
    path.unlink()
    if "missing" not in damage:
        path.write_bytes(body[:-1] if damage == "truncated file" else body[:-2] + b"x]")
    assert store.record(KEY) is None
    assert store.record(KEY, whole=False) == record(tree.digest)
    # What is made again heals it.
    put(store, FILES)
    assert store.record(KEY) == record(tree.digest)


@pytest.mark.parametrize("size", [0, 10, 3])
def test_making_an_object_again_heals_a_damaged_one(store: Store, size: int) -> None:
    tree = put(store, {"a": b"one"})
    path = object_of(store, tree.files[0].digest)
    path.unlink()
    path.write_bytes(b"x" * size)
    put(store, {"a": b"one"})
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"outputs": 3}', b"\xff\xfe", b'{"outputs": {"a": {"b": 1}}}'],
)
def test_a_damaged_record_is_no_record(store: Store, body: bytes) -> None:
    path = store.root / "records" / KEY[:2] / KEY[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(body)
    assert store.record(KEY) is None


def test_a_record_under_another_key_is_no_record(store: Store) -> None:
    tree = put(store, FILES)
    store.put_record(record(tree.digest))
    other = "cd" + "1" * 62
    place = store.root / "records" / other[:2] / other[2:]
    place.parent.mkdir(parents=True)
    (store.root / "records" / KEY[:2] / KEY[2:]).rename(place)
    assert store.record(other) is None


def test_a_damaged_tree_or_metrics_is_said(store: Store) -> None:
    tree = put(store, {"metrics.json": b'{"a": 1}'})
    assert metrics_of(store, tree.digest) == {"a": 1}
    path = object_of(store, tree.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(b'{"a": 2}')
    with pytest.raises(StoreError, match="is damaged"):
        metrics_of(store, tree.digest)
    with pytest.raises(StoreError, match="cannot be read: no such file"):
        store.tree("0" * 64)
    with pytest.raises(StoreError, match="holds no metrics"):
        metrics_of(store, put(store, {"x": b"1"}).digest)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", ".."])
def test_a_tree_cannot_write_outside_its_folder(store: Store, tmp_path: Path, name: str) -> None:
    file = put(store, {"a": b"hostile"}).files[0]
    body = canonical([{"path": name, "digest": file.digest, "size": file.size}])
    digest = digest_bytes("tree", body)
    object_of(store, digest).parent.mkdir(parents=True, exist_ok=True)
    object_of(store, digest).write_bytes(body)
    before = sorted(tmp_path.rglob("*"))
    for lay_out in (store.link, store.copy):
        with pytest.raises(StoreError, match="outside"):
            lay_out(digest, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_became_a_link_takes_nothing_from_where_it_leads(
    store: Store, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a").write_text("mine", encoding="utf-8")
    out = store.staging("out") / "out"
    out.rmdir()
    out.symlink_to(mine)
    with pytest.raises(StoreError, match="out is a link"):
        store.put_tree(out)
    store.discard(out.parent)
    assert (mine / "a").read_text(encoding="utf-8") == "mine"
    assert not (store.root / "objects").exists()


@pytest.mark.parametrize("kind", ["link", "broken link", "folder link", "fifo"])
def test_an_output_is_made_of_regular_files(store: Store, kind: str) -> None:
    folder = store.staging()
    if kind == "fifo":
        os.mkfifo(folder / "x")
    else:
        target = {"link": "/etc/passwd", "broken link": "/nowhere", "folder link": "/etc"}[kind]
        (folder / "x").symlink_to(target)
    with pytest.raises(StoreError, match="x is no regular file"):
        store.put_tree(folder)


def test_staging_folders_are_used_again_and_always_empty(store: Store) -> None:
    first = store.staging("in.a", "out.b")
    inode = first.stat().st_ino
    (first / "out.b" / "deep" / "er").mkdir(parents=True)
    (first / "out.b" / "deep" / "file").write_text("x")
    (first / "in.a" / "file").write_text("x")
    store.discard(first)
    second = store.staging("out.b", "in.a")
    assert second.stat().st_ino == inode
    assert second != first, "who still writes to the old path reaches nobody"
    assert [path.name for path in sorted(second.rglob("*"))] == ["in.a", "out.b"]
    store.discard(second)
    (second / "out.b" / "late").write_text("by a process that was left behind")
    third = store.staging("in.a", "out.b")
    assert [path.name for path in sorted(third.rglob("*"))] == ["in.a", "out.b"]
    (third / "out.b").chmod(0o500)
    store.discard(third)
    fourth = store.staging("in.a", "out.b")
    assert (fourth / "out.b").stat().st_mode & 0o700 == 0o700
    store.discard(fourth)
    assert next(iter(store.staging("other").iterdir())).name == "other"


def test_many_writers_of_one_object_leave_one_valid_object(store: Store) -> None:
    trees: list[str] = []
    threads = [
        threading.Thread(target=lambda: trees.append(put(store, FILES).digest)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(trees)) == 1
    assert len(trees) == 16
    assert store.has(trees[0])


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")
    for action in (
        store.staging,
        lambda: store.put_record(record("ab" * 32)),
    ):
        with pytest.raises(StoreError, match="not a directory"):
            action()
    assert store.record(KEY) is None
