"""A file system that is really full, or cannot be written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from projects import Folder

Mount = Callable[[Path, str], None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount a small tmpfs; unmounted afterwards."""
    mounted: list[Path] = []

    def mount_at(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if (
            os.geteuid() != 0
            or subprocess.run(command, capture_output=True, check=False).returncode
        ):
            pytest.skip("a file system can be mounted by root only")
        mounted.append(folder)

    yield mount_at
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def pipeline(project: Folder, how: str) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  first: {uses: numbers}\n"
        f"  big: {{uses: misbehave, in: {{values: first}}, with: {{how: {how}}}}}\n"
        "  last: {uses: double, in: {values: big}}\n  other: {uses: numbers, with: {count: 9}}\n",
    )


def test_a_disk_full_inside_a_stage(project: Folder, mount: Mount) -> None:
    mount(project.cache, "size=8m")
    pipeline(project, "fill_disk")
    # One at a time: a node that writes while another holds the disk full fails too, and rightly.
    done = project.edgepipe("run", "p.yaml", "--json", "--jobs", "1")
    assert done.code == 1
    nodes = {node["name"]: node for node in done.json["nodes"]}
    assert nodes["big"]["error"].startswith("the disk is full: ")
    assert nodes["big"]["error"].endswith("\nmake room, then run again: finished nodes are kept")
    assert {name: node["status"] for name, node in nodes.items()} == {
        "first": "ran",
        "big": "failed",
        "last": "skipped",
        "other": "ran",
    }
    # Nothing of it is kept: its temporary files are gone and there is room again.
    assert files(project.cache / "tmp") == []
    assert len(files(project.cache / "records")) == 2
    subprocess.run(["mount", "-o", "remount,size=200m", str(project.cache)], check=True)
    assert project.edgepipe("run", "p.yaml").code == 0
    assert project.trace().count("first") == 1


def test_a_disk_full_while_publishing(project: Folder, mount: Mount) -> None:
    # So few inodes that the outputs can be written and their place in the store cannot.
    mount(project.cache, "size=8m,nr_inodes=24")
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        + "".join(f"  n{i}: {{uses: numbers, with: {{count: {i + 1}}}}}\n" for i in range(12)),
    )
    done = project.edgepipe("run", "p.yaml", "--json", "--jobs", "1")
    assert done.code == 1
    failed = [node for node in done.json["nodes"] if node["status"] == "failed"]
    assert failed
    for node in failed:
        assert "no space left on device" in node["error"] or "the disk is full" in node["error"]
        assert "make room" in node["error"]
    assert files(project.cache / "tmp") == []
    subprocess.run(["mount", "-o", "remount,nr_inodes=10000", str(project.cache)], check=True)
    assert project.edgepipe("run", "p.yaml").code == 0
    ran = [node["name"] for node in done.json["nodes"] if node["status"] == "ran"]
    assert all(project.trace().count(name) == 1 for name in ran)


def test_a_disk_full_where_the_project_keeps_its_runs(project: Folder, mount: Mount) -> None:
    mount(project.path / ".edgepipe", "size=1m")
    pipeline(project, "not")
    filler = project.path / ".edgepipe" / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    done = project.edgepipe("run", "p.yaml")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "no space left on device" in done.err + done.out
    filler.unlink()
    assert project.edgepipe("run", "p.yaml").code == 0


def test_a_read_only_cache_gives_what_it_has(project: Folder, mount: Mount) -> None:
    mount(project.cache, "size=8m")
    pipeline(project, "not")
    assert project.edgepipe("run", "p.yaml").code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(project.cache)], check=True)
    again = project.edgepipe("run", "p.yaml")
    assert again.code == 0
    assert project.edgepipe("export", "last", "out").code == 0
    done = project.edgepipe("run", "p.yaml", "--set", "other.with.count=8", "--json")
    assert done.code == 0
    assert f"{project.cache} cannot be written: new results are not cached" in done.err
    statuses = {node["name"]: node["status"] for node in done.json["nodes"]}
    assert (statuses["other"], statuses["last"]) == ("ran", "cached")
    planned = project.edgepipe("plan", "p.yaml", "--set", "other.with.count=8", "--json").json
    assert [n["node"] for n in planned["nodes"] if n["status"] == "runs"] == ["other"]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_an_object_that_is_damaged_is_made_again(project: Folder, damage: str) -> None:
    pipeline(project, "not")
    assert project.edgepipe("run", "p.yaml").code == 0
    body = b"[0.0, 1.0, 2.0]"
    path = next(path for path in files(project.cache / "objects") if path.read_bytes() == body)
    path.unlink()
    if damage == "truncated":
        path.write_bytes(body[:-1])
    planned = project.edgepipe("plan", "p.yaml", "--json").json["nodes"]
    assert {node["node"] for node in planned if node["status"] == "runs"} >= {"first"}
    assert planned[0]["reason"] == "its result is no longer in the cache"
    assert project.edgepipe("run", "p.yaml").code == 0
    assert path.read_bytes() == body
    # Its content is the same again: what follows was not run.
    assert project.trace().count("big") == 1


@pytest.mark.parametrize("body", ["garbage", "[1]", '{"p.yaml": 3}'])
def test_a_state_that_is_garbage_is_made_again(project: Folder, body: str) -> None:
    pipeline(project, "not")
    assert project.edgepipe("run", "p.yaml").code == 0
    for name in ("files.json", "last.json"):
        assert (project.path / ".edgepipe" / "state" / name).is_file()
        (project.path / ".edgepipe" / "state" / name).write_text(body)
    assert project.edgepipe("plan", "p.yaml", "--check").code == 0
    assert project.edgepipe("run", "p.yaml").code == 0
    assert len(project.trace()) == 4
