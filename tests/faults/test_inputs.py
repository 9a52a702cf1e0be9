"""Files that lie about when they were written, and inputs that a stage spoils."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from projects import Folder
from reading import HELPER, result


@pytest.mark.parametrize(
    ("path", "cache", "what"),
    [
        ("data", "data/.cache", "the cache"),
        ("data", "link/cache", "the cache"),
        ("data", "data", "the cache"),
        ("link", "data/.cache", "the cache"),
        (".", "../elsewhere", "what runs leave"),
    ],
)
def test_a_folder_in_which_runs_write_is_read_by_no_node(
    project: Folder, path: str, cache: str, what: str
) -> None:
    project.write("data/words.txt", "one")
    (project.path / "link").symlink_to("data")
    text = f"  a: {{uses: text.upper, with: {{file: {path}}}}}\n"
    project.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n{text}")
    before = project.files()
    for verb in ("run", "plan"):
        done = project.edgepipe(verb, "p.yaml", "--cache", cache)
        place = ".edgepipe" if path == "." else cache
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(
            "p.yaml:4:38: error: 'file' would change while it is read: "
            f"{what} is in it, {project.path / place}\n"
        )
        assert "  name a folder without it" in done.err
    assert project.files() == before


def test_a_cache_beside_what_a_node_reads_is_no_error(project: Folder) -> None:
    project.write("data/words.txt", "one")
    text = "  a: {uses: text.upper, with: {file: data}}\n"
    project.write("p.yaml", f"edgepipe: 1\nname: p\nstages:\n{text}")
    assert project.edgepipe("run", "p.yaml", "--cache", "data.cache").code == 0


def put_back(path: Path, text: str) -> None:
    """An edit of the same size that leaves the time of writing as it was."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_data_of_the_same_size_with_its_time_put_back_is_noticed(reader: Folder) -> None:
    assert result(reader) == "[20]"
    put_back(reader.path / "number.txt", "40")
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 4
    assert result(reader) == "[80]"


def test_code_of_the_same_size_with_its_time_put_back_is_noticed_and_run(
    reader: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python itself would run what it compiled before: size and time are the same.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    assert result(reader) == "[20]"
    assert list((reader.path / "plugins/__pycache__").glob("_double.*.pyc"))
    put_back(reader.path / "plugins/_double.py", HELPER.replace("2", "3"))
    assert "_double.py:twice" in reader.edgepipe("plan", "p.yaml").out
    assert result(reader) == "[30]"
    put_back(reader.path / "plugins/_double.py", HELPER)
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0
    assert result(reader) == "[20]"


def test_a_default_from_a_helper_that_was_edited_within_the_same_second(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    project.write("plugins/_default.py", "VALUE = 1\n")
    text = (project.path / "plugins/double.py").read_text()
    assert "Field(2.0" in text
    text = text.replace("Field(2.0", "Field(VALUE").replace(
        "\n\nfrom edgepipe", "\n\nfrom _default import VALUE\n\nfrom edgepipe", 1
    )
    project.write("plugins/double.py", text)
    text = "edgepipe: 1\nname: p\nstages:\n  first: {uses: numbers}\n"
    project.write("p.yaml", text + "  twice: {uses: double, in: {values: first}}\n")
    assert project.edgepipe("validate", "p.yaml").code == 0
    assert list((project.path / "plugins/__pycache__").glob("_default.*.pyc"))
    put_back(project.path / "plugins/_default.py", "VALUE = 3\n")
    done = project.edgepipe("run", "p.yaml", "--json")
    assert done.json["nodes"][1]["params"]["factor"] == 3


def test_a_stage_that_writes_to_its_input_fails_and_the_input_is_made_again(
    project: Folder,
) -> None:
    text = "edgepipe: 1\nname: p\nstages:\n  first: {uses: numbers}\n"
    node = "  bad: {uses: misbehave, in: {values: first}, with: {how: HOW}}\n"
    project.write("p.yaml", text + node.replace("HOW", "spoil"))
    done = project.edgepipe("run", "p.yaml", "--plain")
    assert done.code == 1
    assert "the node wrote to its input values/numbers.json" in done.out
    assert "inputs are read-only" in done.out
    project.write("p.yaml", text + node.replace("HOW", "not"))
    again = project.edgepipe("run", "p.yaml", "--json")
    assert again.code == 0
    assert [node["status"] for node in again.json["nodes"]] == ["ran", "ran"]
    assert "holds other bytes than it did" in again.err or "instead of" in again.err


@pytest.mark.parametrize("moment", [4_102_444_800, 86_400, 0], ids=["2100", "1970", "epoch"])
def test_times_that_cannot_be_right_change_nothing(reader: Folder, moment: int) -> None:
    files = [reader.path / "number.txt", reader.path / "plugins/_double.py"]
    for path in files:
        os.utime(path, (moment, moment))
    assert result(reader) == "[20]"
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 0
    files[0].write_text("50")
    files[1].write_text(HELPER.replace("2", "4"))
    for path in files:
        os.utime(path, (moment, moment))
    assert reader.edgepipe("plan", "p.yaml", "--check").code == 4
    assert result(reader) == "[200]"
    # Only touched: an hour earlier, an hour later.
    for shift in (3600, 7200):
        for path in files:
            os.utime(path, (moment + shift, moment + shift))
        assert reader.edgepipe("plan", "p.yaml", "--check").code == 0


@pytest.mark.parametrize("name", ["files.json", "last.json"])
@pytest.mark.parametrize("damage", ["garbage", "empty", "cut", "flipped", "folder"])
def test_state_that_is_garbage_is_said_and_made_again(
    reader: Folder, name: str, damage: str
) -> None:
    time.sleep(0.1)
    assert result(reader) == "[20]"
    path = reader.path / ".edgepipe/state" / name
    body = path.read_bytes()
    damaged = {
        "garbage": b"\0\xffgarbage",
        "empty": b"",
        "cut": body[: len(body) // 2],
        "flipped": body[:-40] + bytes([body[-40] ^ 1]) + body[-39:],
        "folder": b"",
    }[damage]
    path.write_bytes(damaged)
    if damage == "folder":
        path.unlink()
        path.mkdir()
    planned = reader.edgepipe("plan", "p.yaml", "--check")
    assert planned.code == 0
    if damage == "flipped" and name == "last.json":
        # Another key than the last: that loses an explanation, and is nothing to warn of.
        return
    assert f"warning: {path} was damaged: what it held is found out again" in planned.err
    assert result(reader) == "[20]"
    assert reader.trace().count("r") == 1
    if damage != "folder":
        assert "warning" not in reader.edgepipe("plan", "p.yaml").err
