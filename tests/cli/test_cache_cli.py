"""``edgepipe cache`` as a user calls it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from projects import Folder
from storing import flip, objects, records, wrong_names

from edgepipe.errors import ConfigError
from edgepipe.project import find

PIPELINE = """
edgepipe: 1
name: p
stages:
  first: {uses: numbers, with: {count: COUNT}}
  last: {uses: double, in: {values: first}}
"""


def run(project: Folder, count: int = 5) -> dict[str, str]:
    """Run the pipeline; node → key."""
    project.write("p.yaml", PIPELINE.replace("COUNT", str(count)))
    done = project.edgepipe("run", "p.yaml", "--json")
    assert done.code == 0
    return {node["name"]: node["key"] for node in done.json["nodes"]}


def damage(project: Folder) -> Path:
    path = next(p for p in objects(project.cache) if p.read_bytes() == b"[0.0, 1.0, 2.0, 3.0, 4.0]")
    flip(path, 5)
    return path


def test_ls_and_du(project: Folder) -> None:
    keys = run(project)
    rows = project.edgepipe("cache", "ls", "--json").json["records"]
    assert {row["key"]: row["kind"] for row in rows} == {
        keys["first"]: "numbers",
        keys["last"]: "double",
    }
    assert all(row["runs"] == 1 and not row["pinned"] for row in rows)
    text = project.edgepipe("cache", "ls").out
    assert keys["first"][:12] in text
    assert f"2 records in {project.cache}" in text
    usage = project.edgepipe("cache", "du", "--json", EDGEPIPE_CACHE_SIZE="2 GB").json
    assert usage["cap"] == 2 * 10**9
    assert usage["size"] == sum(path.stat().st_size for path in objects(project.cache))
    assert (usage["objects"], usage["records"]) == (len(objects(project.cache)), 2)
    text = project.edgepipe("cache", "du", EDGEPIPE_CACHE_SIZE="2 GB").out
    assert " of at most 2.00 GB in " in text
    assert "numbers" in text


def test_du_counts_each_object_once(project: Folder) -> None:
    # A factor of 1: both kinds have the same numbers.
    text = PIPELINE.replace("COUNT", "5").replace(
        "{values: first}", "{values: first}, with: {factor: 1}"
    )
    project.write("p.yaml", text)
    assert project.edgepipe("run", "p.yaml").code == 0
    usage = project.edgepipe("cache", "du", "--json").json
    assert set(usage["kinds"]) == {"numbers", "double"}
    assert usage["shared"] >= len(b"[0.0, 1.0, 2.0, 3.0, 4.0]")
    assert usage["unused"] == 0
    assert sum(usage["kinds"].values()) + usage["shared"] == usage["size"]
    assert "  shared by several kinds " in project.edgepipe("cache", "du").out
    records(project.cache)[0].unlink()
    usage = project.edgepipe("cache", "du", "--json").json
    parts = (*usage["kinds"].values(), usage["shared"], usage["unused"])
    assert sum(parts) == usage["size"]
    assert usage["unused"] > usage["shared"] == 0
    assert "  needed by no record " in project.edgepipe("cache", "du").out


def test_an_empty_cache(project: Folder) -> None:
    assert "0 records in" in project.edgepipe("cache", "ls").out
    assert project.edgepipe("cache", "du").code == 0
    assert "all whole" in project.edgepipe("cache", "verify").out
    assert project.edgepipe("cache", "gc").code == 0
    assert project.edgepipe("cache", "pin").out == "nothing is pinned\n"
    done = project.edgepipe("cache", "export", "x.tar")
    assert (done.code, "nothing to export" in done.err) == (2, True)


def test_verify_finds_damage_and_repairs_it(project: Folder) -> None:
    keys = run(project)
    done = project.edgepipe("cache", "verify")
    assert done.code == 0
    assert "2 records read: all whole" in done.out
    path = damage(project)
    done = project.edgepipe("cache", "verify")
    assert done.code == 5
    assert f"damaged object {path.parent.name}{path.name[:10]}" in done.out
    assert f"  needed by numbers ({keys['first'][:12]})" in done.out
    assert "cache verify --repair" in done.out
    assert path.exists()
    found = project.edgepipe("cache", "verify", "--json")
    assert (found.code, found.json["whole"]) == (5, False)
    assert [f["breaks"] for f in found.json["damaged"]] == [[keys["first"]]]
    done = project.edgepipe("cache", "verify", "--repair")
    assert done.code == 0
    assert "repaired: 1 record dropped" in done.out
    assert not path.exists()
    assert "quarantine holds what was damaged" in project.edgepipe("cache", "du").out
    assert project.edgepipe("cache", "verify").code == 0
    reason = "it ran, and its result was damaged: it was put away"
    row = project.edgepipe("plan", "p.yaml", "--json").json["nodes"][0]
    assert (row["status"], row["reason"]) == ("runs", reason)
    assert row["seconds"] > 0
    why = project.edgepipe("why", "p.yaml", "first").out
    assert f"  {reason}\n" in why
    assert "it last ran on" in why
    changed = project.edgepipe("plan", "p.yaml", "--set", "first.with.count=6").out
    assert "first.with.count: 5 → 6" in changed
    assert run(project) == keys
    assert project.trace() == ["first", "last", "first"]
    # What was made again and then forgotten was not damaged.
    next(p for p in records(project.cache) if keys["first"].endswith(p.name)).unlink()
    assert "was damaged" not in project.edgepipe("plan", "p.yaml").out
    assert wrong_names(project.cache) == []


@pytest.mark.parametrize("how", ["missing object", "missing tree", "damaged record", "truncated"])
def test_verify_finds_every_kind_of_damage(project: Folder, how: str) -> None:
    keys = run(project)
    if how == "damaged record":
        flip(records(project.cache)[0], 100)
    elif how == "truncated":
        os.truncate(damage(project), 3)
    else:
        first = b"[{" if how == "missing tree" else b"[0"
        next(p for p in objects(project.cache) if p.read_bytes().startswith(first)).unlink()
    found = project.edgepipe("cache", "verify", "--json")
    assert found.code == 5
    what = {"missing tree": "missing object", "truncated": "damaged object"}.get(how, how)
    assert {finding["what"] for finding in found.json["damaged"]} == {what}
    done = project.edgepipe("cache", "verify", "--repair", "--json")
    assert (done.code, done.json["whole"]) == (0, True)
    assert len(done.json["dropped"]) >= 1
    assert "it ran, and its result was damaged" in project.edgepipe("plan", "p.yaml").out
    assert project.edgepipe("cache", "verify").code == 0
    assert run(project) == keys


def test_gc_frees_what_no_run_holds_and_says_so(project: Folder) -> None:
    keep, more = run(project, 5), run(project, 6)
    held = project.edgepipe("cache", "gc", "--json").json
    assert (held["records"], held["kept_records"], held["held"]) == ([], 4, 4)
    planned = project.edgepipe("cache", "gc", "--keep-runs", "1", "--dry-run")
    assert planned.out.startswith("would free ")
    assert len(records(project.cache)) == 4
    done = project.edgepipe("cache", "gc", "--keep-runs", "1")
    assert "freed " in done.out
    assert "2 records, " in done.out
    assert "kept 2 records" in done.out
    names = {path.parent.name + path.name for path in records(project.cache)}
    assert names == set(more.values())
    assert run(project, 5) == keep
    assert project.trace() == ["first", "last"] * 3


def test_gc_to_a_size(project: Folder) -> None:
    run(project)
    done = project.edgepipe("cache", "gc", "--max-size", "1 B")
    assert "that is more than 1 B: fewer --keep-runs, or unpin, to free more" in done.out
    assert len(records(project.cache)) == 2
    done = project.edgepipe("cache", "gc", "--max-size", "1 GB", "--keep-runs", "0")
    assert "freed 0 B: 0 records, 0 objects" in done.out
    assert project.edgepipe("cache", "gc", "--max-size", "1 B", "--keep-runs", "0").code == 0
    assert records(project.cache) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gc", "--max-size", "many"], "error: --max-size: 'many' is no size\n  write a number"),
        (["gc", "--keep-runs", "-1"], "--keep-runs must be at least 0"),
        (["pin", "nothing"], "has no node 'nothing'"),
        (["unpin", "first"], "'first' is not pinned"),
        (["export", "x.tar", "frist"], "did you mean 'first'?"),
        (["import", "absent.tar"], "absent.tar: no such file or directory"),
    ],
)
def test_wrong_arguments(project: Folder, arguments: list[str], message: str) -> None:
    run(project)
    done = project.edgepipe("cache", *arguments)
    assert done.code in {1, 2}
    assert message in done.err
    assert "Traceback" not in done.err


def test_pins_keep_results_for_good(project: Folder) -> None:
    keys = run(project)
    assert project.edgepipe("cache", "pin", "first").out == f"{keys['first'][:12]}  first\n"
    assert project.edgepipe("cache", "pin", keys["last"][:10]).code == 0
    project.edgepipe("cache", "gc", "--keep-runs", "0")
    assert len(records(project.cache)) == 2
    rows = project.edgepipe("cache", "ls", "--json").json["records"]
    assert all(row["pinned"] for row in rows)
    assert project.edgepipe("cache", "unpin", "first").out == "1 record unpinned\n"
    assert project.edgepipe("cache", "unpin", keys["last"]).code == 0
    project.edgepipe("cache", "gc", "--keep-runs", "0")
    assert records(project.cache) == []


def test_export_and_import_between_caches(project: Folder, tmp_path: Path) -> None:
    keys = run(project)
    done = project.edgepipe("cache", "export", "all.tar")
    assert done.out.startswith("all.tar: 2 records, ")
    one = project.edgepipe("cache", "export", "one.tar", "last", "--run", "last", "--json").json
    assert one["records"] == 1
    other = {"EDGEPIPE_CACHE": str(tmp_path / "other")}
    done = project.edgepipe("cache", "import", "all.tar", **other)
    assert "all right; 2 of the records are new here" in done.out
    planned = project.edgepipe("plan", "p.yaml", "--check", "--json", **other)
    assert planned.code == 0
    again = project.edgepipe("run", "p.yaml", "--json", **other).json
    assert {node["name"]: node["key"] for node in again["nodes"]} == keys
    assert project.trace() == ["first", "last"]
    assert project.edgepipe("cache", "import", "one.tar", "--json", **other).json["new"] == 0


def test_the_verb_imports_no_framework_and_explains_itself(project: Folder) -> None:
    done = project.edgepipe("cache", "--help")
    assert done.code == 0
    for action in ("ls", "du", "gc", "verify", "export", "import", "pin", "unpin"):
        assert f"    {action} " in done.out
    assert project.edgepipe("cache").code == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("20 GB", 20 * 10**9), ("512MiB", 2**29), ("1.5 kB", 1500), ("7 B", 7), ("2 TB", 2 * 10**12)],
)
def test_a_size_cap_is_read_from_the_project_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, size: int
) -> None:
    assert find(tmp_path).cache_size is None
    (tmp_path / "edgepipe.toml").write_text(f'cache_size = "{text}"\n')
    assert find(tmp_path).cache_size == size
    monkeypatch.setenv("EDGEPIPE_CACHE_SIZE", "3 MB")
    assert find(tmp_path).cache_size == 3_000_000


@pytest.mark.parametrize("text", ["20", "GB", "-1 GB", "1 m", "1e3 GB", "a lot"])
def test_a_size_cap_that_is_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "edgepipe.toml").write_text(f'cache_size = "{text}"\n')
    with pytest.raises(ConfigError, match=f"cache_size: '{text}' is no size") as caught:
        find(tmp_path)
    assert caught.value.problems[0].hint == "write a number and a unit, like '20 GB'"
    monkeypatch.setenv("EDGEPIPE_CACHE_SIZE", text)
    with pytest.raises(ConfigError, match="EDGEPIPE_CACHE_SIZE: "):
        find(tmp_path)


def test_a_run_with_nothing_to_do_holds_what_it_shows(project: Folder, tmp_path: Path) -> None:
    project.write(
        "p.yaml", "edgepipe: 1\nname: p\nstages:\n  a: {uses: numbers}\n  b: {uses: numbers}\n"
    )
    first = project.edgepipe("run", "p.yaml", "--json").json["id"]
    time.sleep(0.06)

    def shown_then_collected(folder: Folder) -> int:
        assert folder.edgepipe("run", "p.yaml", "--json").json["id"] == first
        return len(folder.edgepipe("cache", "gc", "--json").json["records"])

    assert shown_then_collected(project) == 0
    # Its root goes, its records fit.
    project.edgepipe("cache", "gc", "--keep-runs", "0", "--max-size", "1 GB")
    assert shown_then_collected(project) == 0
    moved = Folder(project.path.rename(tmp_path / "moved"))
    assert shown_then_collected(moved) == 0
