"""Objects and records are damaged: it is noticed, said, and made again; no wrong byte is used."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from projects import Folder
from storing import contents, files_of, flip, objects, publish, put, records, wrong_names

from edgepipe.errors import StoreError
from edgepipe.planner.fitting import metrics_of
from edgepipe.store import Store
from edgepipe.store.check import verify
from edgepipe.store.collect import collect
from edgepipe.store.model import pack_tree, tree_digest

FILES = {"a": b"one", "deep/b": bytes(100_000), "metrics.json": b'{"a": 1}'}


def quarantined(store: Store) -> list[Path]:
    folder = store.root / "quarantine"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("at", [0, 50_000, 99_999])
@pytest.mark.parametrize("known", ["in this process", "by an earlier one", "to nobody"])
def test_a_flipped_bit_is_noticed_put_away_and_said(store: Store, at: int, known: str) -> None:
    record = publish(store, "k", FILES)
    store.sync()
    if known != "in this process":
        store = Store(store.root)
    if known == "to nobody":
        (store.root / "verified").unlink()
    path = store.object_path(store.tree(record.outputs["port0"].tree).files[1].digest)
    flip(path, at)
    damaged = path.read_bytes()
    assert store.record(record.key) is None
    assert [damage.digest for damage in store.damages] == [path.parent.name + path.name]
    assert "holds other bytes than it did" in store.damages[0].what
    assert Path(store.damages[0].where).read_bytes() == damaged
    assert not path.exists()
    # Made again, it is right again; the damaged one stays for a person.
    publish(store, "k", FILES)
    assert store.record(record.key) is not None
    assert contents(store, record) == [FILES]
    assert len(quarantined(store)) == 1


@pytest.mark.parametrize("use", ["link", "copy", "metrics"])
def test_a_flipped_bit_is_noticed_by_whoever_uses_the_object(store: Store, use: str) -> None:
    tree = put(store, FILES)
    for path in objects(store.root):
        if path.read_bytes() == b'{"a": 1}':
            flip(path, 5)
    folder = store.staging() / "in"
    with pytest.raises(StoreError, match="damaged"):
        metrics_of(store, tree.digest) if use == "metrics" else getattr(store, use)(
            tree.digest, folder
        )
    assert len(store.damages) == len(quarantined(store)) == 1


@pytest.mark.parametrize("how", ["shorter", "longer", "empty"])
def test_an_object_of_another_size_is_put_away(store: Store, how: str) -> None:
    record = publish(store, "k", FILES)
    path = store.object_path(store.tree(record.outputs["port0"].tree).files[1].digest)
    path.chmod(0o644)
    os.truncate(path, {"shorter": 99_999, "longer": 100_001, "empty": 0}[how])
    assert store.record(record.key) is None
    assert "bytes instead of 100000" in store.damages[0].what
    assert not path.exists()


def test_a_tree_that_lies_about_a_size_damages_no_file(store: Store) -> None:
    record = publish(store, "k", FILES)
    file = store.tree(record.outputs["port0"].tree).files[1]
    body = pack_tree([replace(file, size=file.size + 1)])
    store.objects.put_body(tree_digest(body), body, tree=True)
    for verified in (True, False):
        assert not store.has(tree_digest(body))
        assert store.damages == []
        assert store.record(record.key) == record
        if verified:
            store.objects.verified.forget(file.digest)


def test_a_missing_object_makes_the_record_count_no_longer(store: Store) -> None:
    for path in ("file", "tree"):
        record = publish(store, "k", FILES)
        tree = store.tree(record.outputs["port0"].tree)
        store.object_path(tree.digest if path == "tree" else tree.files[0].digest).unlink()
        assert store.record(record.key) is None
    assert store.damages == []


def test_a_tree_with_a_flipped_bit(store: Store) -> None:
    record = publish(store, "k", FILES)
    flip(store.object_path(record.outputs["port0"].tree), 30)
    assert store.record(record.key) is None
    assert len(quarantined(store)) == 1


def test_any_flipped_bit_of_a_record_is_noticed(store: Store) -> None:
    record = publish(store, "k", FILES)
    path = records(store.root)[0]
    right = path.read_bytes()
    for at in range(len(right)):
        path.chmod(0o644)
        path.write_bytes(right)
        flip(path, at)
        store.damages.clear()
        assert store.record(record.key) is None
        assert [damage.digest for damage in store.damages] == [record.key]


def test_an_edit_of_the_same_size_with_its_time_put_back(store: Store, tmp_path: Path) -> None:
    record = publish(store, "k", FILES)
    store.sync()
    path = store.object_path(store.tree(record.outputs["port0"].tree).files[0].digest)
    info = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"two")
    path.chmod(0o444)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (info.st_size, info.st_mtime_ns)
    assert Store(store.root).record(record.key) is None


def test_a_job_that_writes_into_its_input_is_noticed(store: Store) -> None:
    record = publish(store, "k", FILES)
    tree = record.outputs["port0"].tree
    folder = store.staging() / "in"
    store.link(tree, folder)
    assert store.changed(tree, folder) == []
    (folder / "a").chmod(0o644)
    (folder / "a").write_bytes(b"two")
    (folder / "metrics.json").unlink()
    assert store.changed(tree, folder) == ["a", "metrics.json"]
    store.discard(folder)
    assert store.record(record.key) is None
    assert len(store.damages) == 1


def test_linking_and_removing_links_needs_no_new_hashing(store: Store) -> None:
    record = publish(store, "k", FILES)
    tree = record.outputs["port0"].tree
    for _ in range(3):
        folder = store.staging() / "in"
        store.link(tree, folder)
        store.discard(folder.parent)
    store.sync()
    again = Store(store.root)
    for path in objects(store.root):
        digest = path.parent.name + path.name
        assert again.objects.verified.matches(digest, path.stat())


def test_what_the_user_gets_cannot_hurt_the_cache(store: Store, tmp_path: Path) -> None:
    record = publish(store, "k", FILES)
    store.copy(record.outputs["port0"].tree, tmp_path / "out")
    for name in FILES:
        with (tmp_path / "out" / name).open("r+b") as file:
            file.write(b"edited in place")
    assert store.record(record.key) is not None
    assert contents(store, record) == [FILES]
    # A second copy replaces files; it writes through no name that leads elsewhere.
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / "out" / "a").unlink()
    (tmp_path / "out" / "a").symlink_to(precious)
    store.copy(record.outputs["port0"].tree, tmp_path / "out")
    assert files_of(tmp_path / "out") == FILES
    assert precious.read_bytes() == b"precious"


def test_an_output_that_shares_a_file_with_another_name_is_copied(
    store: Store, tmp_path: Path
) -> None:
    folder = store.staging()
    (store.root / "kept").write_bytes(b"one")
    os.link(store.root / "kept", folder / "a")
    tree = store.put_tree(folder)
    (store.root / "kept").write_bytes(b"two")
    store.copy(tree.digest, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"one"


@pytest.mark.parametrize(
    "body",
    [b"garbage", b"\x00" * 500, b"\xff\n" * 100, b"[]", b"a" * 64 + b" 1 2 3 4\n" + b"b" * 70],
)
def test_a_list_of_verified_objects_that_is_garbage_is_made_again(
    store: Store, body: bytes
) -> None:
    record = publish(store, "k", FILES)
    store.sync()
    (store.root / "verified").write_bytes(body)
    again = Store(store.root)
    assert again.record(record.key) is not None
    assert [damage.what for damage in again.damages] == [
        "the list of verified objects is damaged: it is made again"
    ]
    again.sync()
    third = Store(store.root)
    assert third.record(record.key) is not None
    assert third.damages == []


def test_a_list_of_verified_objects_cannot_vouch_for_other_bytes(store: Store) -> None:
    record = publish(store, "k", FILES)
    store.sync()
    lines = (store.root / "verified").read_text().splitlines()
    for path in objects(store.root):
        digest = path.parent.name + path.name
        flip(path)
        # All but the ctime, which nobody can set.
        line = next(line for line in lines if line.startswith(digest))
        assert line.split()[1:4] == [
            str(path.stat().st_ino),
            str(path.stat().st_size),
            str(path.stat().st_mtime_ns),
        ]
    assert Store(store.root).record(record.key) is None


def test_a_store_that_was_copied_elsewhere_is_hashed_once(store: Store, tmp_path: Path) -> None:
    record = publish(store, "k", FILES)
    store.sync()
    shutil.copytree(store.root, tmp_path / "moved")
    moved = Store(tmp_path / "moved")
    flip(objects(moved.root)[0])
    assert moved.record(record.key) is None
    publish(moved, "k", FILES)
    moved.sync()
    assert wrong_names(moved.root) == []
    assert Store(moved.root).record(record.key) is not None


def pipeline(project: Folder) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  first: {uses: numbers, with: {count: 5}}\n"
        "  last: {uses: double, in: {values: first}}\n",
    )


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_run_makes_what_is_damaged_again(project: Folder, damage: str) -> None:
    pipeline(project)
    assert project.edgepipe("run", "p.yaml").code == 0
    body = b"[0.0, 1.0, 2.0, 3.0, 4.0]"
    path = next(path for path in objects(project.cache) if path.read_bytes() == body)
    if damage == "flipped":
        flip(path, 5)
    elif damage == "truncated":
        os.truncate(path, 5)
    else:
        path.unlink()
    assert project.edgepipe("run", "p.yaml").code == 0
    assert path.read_bytes() == body
    assert project.trace() == ["first", "last", "first"]
    assert project.edgepipe("cache", "verify").code == 0
    assert wrong_names(project.cache) == []


def in_place_of(path: Path, what: str) -> None:
    """Put something that is no file where one was."""
    path.unlink()
    if what == "a folder":
        (path / "deeper").mkdir(parents=True)
    elif what == "a socket":
        with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
            server.bind(path.name)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("what", ["a folder", "a pipe", "a socket"])
def test_what_is_no_file_in_an_objects_place_is_damage(store: Store, what: str) -> None:
    record = publish(store, "k", FILES)
    digest = record.outputs["port0"].tree
    for damaged in (digest, store.tree(digest).files[0].digest):
        in_place_of(store.object_path(damaged), what)
        finding = verify(store).findings[0]
        assert (finding.digest, finding.what) == (damaged, "damaged object")
        assert verify(store, repair=True).repaired
        assert len(quarantined(store)) == 2
        shutil.rmtree(store.root / "quarantine")
        publish(store, "k", FILES)
        assert verify(store).findings == []
    assert store.record(record.key) is not None


@pytest.mark.parametrize("what", ["a folder", "a pipe"])
def test_what_is_no_file_in_a_records_place_is_damage(store: Store, what: str) -> None:
    record = publish(store, "k", FILES)
    path = store.records.path(record.key)
    in_place_of(Path(path), what)
    assert [f.what for f in verify(store).findings] == ["damaged record"]
    assert store.record(record.key) is None
    assert publish(store, "k", FILES) == store.record(record.key)
    in_place_of(Path(path), what)
    assert collect(store).records == [record.key]
    assert not os.path.lexists(path)


def test_a_run_says_once_that_a_record_is_damaged(project: Folder) -> None:
    pipeline(project)
    assert project.edgepipe("run", "p.yaml").code == 0
    for path in records(project.cache):
        path.chmod(0o644)
        path.write_bytes(b"none")
    plan = project.edgepipe("plan", "p.yaml")
    ran = project.edgepipe("run", "p.yaml")
    assert (plan.code, ran.code) == (0, 0)
    for path in records(project.cache):
        key = path.parent.name + path.name
        assert (plan.out + plan.err).count(f"the record {key[:12]} is damaged") == 1
        assert (ran.out + ran.err).count(f"the record {key[:12]} is damaged") == 1
