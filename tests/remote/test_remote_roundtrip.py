"""Whatever the store takes as a result can be pushed, and comes back from the remote unchanged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remotes import content, remote, result
from storing import put, record_of

from edgepipe.artifact import Metrics
from edgepipe.errors import StageError, StoreError
from edgepipe.store import Output, Record, Store, model

names = st.text(max_size=20) | st.sampled_from(
    ["top\u00a01", "top 1", "größe", "top\u20091", "a\nb", "\ud800", "\u202e", "🦀", "", "x" * 1001]
)
numbers = st.floats() | st.integers() | st.sampled_from([10**300, 10**400, -0.0, True])
plain = st.recursive(
    st.none() | st.booleans() | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
# Names of files as Linux allows them: any bytes but two.
parts = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0") and name not in {b".", b".."}
)
paths = st.lists(parts, min_size=1, max_size=3).map(b"/".join)


@contextmanager
def team() -> Iterator[tuple[Store, Store, Path]]:
    """Two stores, and where a remote can be; hypothesis starts a test again and again."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mine, theirs = Store(root / "mine"), Store(root / "theirs")
        try:
            yield mine, theirs, root
        finally:
            mine.close()
            theirs.close()


def written(store: Store, files: dict[bytes, bytes]) -> Output:
    """A folder of files with any names, as a stage leaves it."""
    folder = store.staging()
    for name, body in files.items():
        path = os.path.join(os.fsencode(folder), name)  # noqa: PTH118  names that are no text
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(body)
    tree = store.put_tree(folder)
    store.discard(folder)
    return Output("Folder", tree.digest, tree.size)


def returns(mine: Store, theirs: Store, root: Path, record: Record) -> None:
    assert mine.record(record.key) == record
    one = remote(root / "project", str(root / "shared"))
    try:
        assert one.push([record], mine) == {record.key: "uploaded"}, one.warnings
        assert one.fetch(record.key, theirs) == record, one.warnings
        assert one.push([record], mine) == {record.key: "there"}
        assert one.warnings == []
    finally:
        one.close()
    ours = content(mine, record, root / "a")
    assert content(theirs, record, root / "b") == ours


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=names,
    metrics=st.dictionaries(names, numbers, max_size=3),
    params=st.dictionaries(names, plain, max_size=3),
    files=st.lists(paths, max_size=3),
    seconds=numbers,
    peak=st.integers(-1, 1 << 64),
)
def test_what_the_store_takes_survives(
    kind: str, metrics: Any, params: Any, files: list[bytes], seconds: Any, peak: int
) -> None:
    with team() as (mine, theirs, root):
        try:
            output = written(mine, dict.fromkeys(files, b"x"))
        except OSError:
            # A file that is a folder, too.
            return
        record = replace(
            record_of("k"),
            kind=kind,
            metrics=metrics,
            made_of={"params": params},
            outputs={"out": output},
            seconds=seconds,
            peak_memory=peak,
        )
        try:
            mine.put_record(record)
        except StoreError:
            return
        returns(mine, theirs, root, record)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(metrics=st.dictionaries(names, plain, max_size=3))
def test_metrics_that_a_stage_may_write_survive(metrics: dict[str, Any]) -> None:
    with team() as (mine, theirs, root):
        Metrics.save(root, metrics)
        try:
            Metrics.check(root)
            found = Metrics.numbers(root)
        except StageError:
            return
        body = (root / "metrics.json").read_bytes()
        tree = put(mine, {"metrics.json": body})
        outputs = {"report": Output("Metrics", tree.digest, tree.size)}
        record = replace(record_of("k"), metrics=found, outputs=outputs)
        # No second thoughts of the store: the stage is told at once.
        mine.put_record(record)
        returns(mine, theirs, root, record)


@pytest.mark.parametrize("name", ["top\u00a01", "top\u20091", "größe", "🦀"])
def test_a_name_with_any_space_is_a_name(tmp_path: Path, name: str) -> None:
    Metrics.save(tmp_path, {name: 1.0})
    Metrics.check(tmp_path)
    mine, theirs = Store(tmp_path / "mine"), Store(tmp_path / "theirs")
    record = replace(result(mine, "a"), metrics={name: 1.0})
    mine.put_record(record)
    returns(mine, theirs, tmp_path, record)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202ea", "\ud800", "x" * 1001])
def test_a_name_that_cannot_be_shown_is_told_to_the_stage(tmp_path: Path, name: str) -> None:
    Metrics.save(tmp_path, {name: 1.0})
    with pytest.raises(StageError, match=r"has no name that can be shown|is no Unicode"):
        Metrics.check(tmp_path)


def test_a_list_of_files_that_nobody_would_fetch_is_not_pushed(tmp_path: Path) -> None:
    mine = Store(tmp_path / "mine")
    (file,) = put(mine, {"a": b"1"}).files
    # As many bytes as half a million usual names take, and sooner written.
    names = (f"{n:05}/{'/'.join(['x' * 250] * 16)}" for n in range(17_000))
    body = model.pack_tree(replace(file, path=name) for name in names)
    digest = model.tree_digest(body)
    mine.objects.put_body(digest, body, tree=True)
    record = replace(record_of("k"), outputs={"out": Output("Folder", digest, 1)})
    mine.put_record(record)
    one = remote(tmp_path / "project", str(tmp_path / "shared"))
    assert one.push([record], mine) == {record.key: "failed"}
    assert "the list of its files has more than 67108864 bytes" in one.warnings[0]
    one.close()
