"""What tests of the store share: filling one, damaging it, and checking it byte by byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from edgepipe.digest import digest_bytes, digest_value
from edgepipe.store import Output, Record, Store, Tree
from edgepipe.store.model import unpack_record, unpack_tree


def put(store: Store, files: dict[str, bytes]) -> Tree:
    """Publish a folder of files."""
    folder = store.staging()
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    tree = store.put_tree(folder)
    store.discard(folder)
    return tree


def key_of(name: object) -> str:
    return digest_value("key", str(name))


def record_of(name: object, *trees: Tree, kind: str = "numbers") -> Record:
    outputs = {f"port{i}": Output("Numbers", t.digest, t.size) for i, t in enumerate(trees)}
    return Record(
        key=key_of(name),
        kind=kind,
        made_of={"params": {"name": str(name)}},
        outputs=outputs,
        metrics={"total": 3.0},
        seconds=1.5,
        cpu_seconds=2.5,
        peak_memory=1000,
        created=1.0,
    )


def publish(store: Store, name: object, files: dict[str, bytes]) -> Record:
    """Publish a record with one output, as a run does."""
    with store.using():
        record = record_of(name, put(store, files))
        store.put_record(record)
    return record


def contents(store: Store, record: Record) -> list[dict[str, bytes]]:
    """The files of a record's outputs, as a user gets them."""
    found = []
    for output in record.outputs.values():
        folder = store.staging() / "copy"
        store.copy(output.tree, folder)
        found.append(files_of(folder))
        store.discard(folder.parent)
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def objects(root: Path) -> list[Path]:
    return sorted(path for path in (root / "objects").rglob("*") if path.is_file())


def records(root: Path) -> list[Path]:
    return sorted(path for path in (root / "records").rglob("*") if path.is_file())


def wrong_names(root: Path) -> list[str]:
    """Objects whose name is not the digest of their bytes, told without the store's own code."""
    wrong = []
    for path in objects(root):
        body, name = path.read_bytes(), path.parent.name + path.name
        if name not in {digest_bytes("file", body), digest_bytes("tree", body)}:
            wrong.append(name)
    return wrong


def broken_records(root: Path) -> list[str]:
    """Records that cannot be read, or that need an object that is missing."""
    there = {path.parent.name + path.name for path in objects(root)}
    broken = []
    for path in records(root):
        record = unpack_record(path.read_bytes())
        assert record is not None
        for output in record.outputs.values():
            tree = root / "objects" / output.tree[:2] / output.tree[2:]
            needs = {output.tree}
            if tree.is_file():
                needs |= {file.digest for file in unpack_tree(tree.read_bytes())}
            if needs - there:
                broken.append(record.key)
    return broken


def flip(path: Path, at: int = 0) -> None:
    """Flip a bit as a disk does: the file's times stay, but for the ctime."""
    info = path.stat()
    body = bytearray(path.read_bytes())
    body[at % len(body)] ^= 1
    path.chmod(0o644)
    path.write_bytes(body)
    path.chmod(0o444)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def left_over(root: Path) -> list[Path]:
    """Staging of processes, and lock files."""
    return [
        path
        for name in ("tmp", "locks")
        if (root / name).is_dir()
        for path in (root / name).iterdir()
    ]


def mount(*arguments: object) -> None:
    """Mount something."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    if done.returncode:
        unable(f"a file system cannot be mounted here: {done.stderr.decode().strip()}")


def unable(reason: str) -> NoReturn:
    """Skip a test that this machine cannot do; in CI, where nobody reads skips, it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def mounted(folder: Path, *arguments: object) -> Iterator[None]:
    """A file system on a folder, as ``mount ARGUMENTS FOLDER`` gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    mount(*arguments, folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def small(options: str) -> tuple[str, ...]:
    """A tmpfs, for `mounted`."""
    return ("-t", "tmpfs", "-o", options, "none")
