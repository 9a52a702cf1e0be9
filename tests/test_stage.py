"""What a stage author meets: artifact types, the context, the user's own code."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgepipe.errors import StageError
from edgepipe.holding import Hold, held
from edgepipe.stage import (
    Artifact,
    Context,
    Field,
    Folder,
    Metrics,
    Params,
    Port,
    Stage,
    optional,
    ports_of,
)
from edgepipe.watch import Watch, state_of, tree_stamp


class Group(Params):
    """A group of parameters."""

    rate: float = Field(0.5, description="how fast")


class Made(Stage):
    """A stage."""

    inputs = {"numbers": Metrics, "files": optional(Folder)}
    outputs = {"numbers": Metrics, "files": Folder}
    group: Group = Field(Group(), description="more")

    def run(self, ctx: Context) -> None: ...


@pytest.fixture
def context(tmp_path: Path) -> tuple[Context, list[tuple[str, dict[str, Any]]]]:
    told: list[tuple[str, dict[str, Any]]] = []
    for name in ("in", "out/numbers", "out/files", "scratch"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "metrics.json").write_text('{"a": 1}')
    ctx = Context(
        node="n",
        seed=7,
        threads=2,
        scratch_path=tmp_path / "scratch",
        project=tmp_path,
        input_types={"numbers": Metrics, "files": Folder},
        output_types=Made.outputs,
        input_paths={"numbers": tmp_path / "in"},
        output_paths={port: tmp_path / "out" / port for port in Made.outputs},
        report=lambda name, data: told.append((name, data)),
    )
    return ctx, told


def test_a_context_gives_inputs_and_takes_outputs(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]],
) -> None:
    ctx, told = context
    assert ctx.input("numbers") == {"a": 1}
    assert ctx.input("files") is None
    assert ctx.path("files") is None
    ctx.save("numbers", {"b": 2.5})
    assert Metrics.load(ctx.output("numbers")) == {"b": 2.5}
    with pytest.raises(StageError, match="file by file"):
        ctx.save("files", "x")
    assert Folder.load(ctx.output("files")) == ctx.output("files")
    ctx.log("one")
    ctx.warn("two")
    ctx.progress(1, 2, loss=3.0)
    assert told == [
        ("log", {"message": "one"}),
        ("warning", {"message": "two"}),
        ("progress", {"done": 1, "total": 2, "numbers": {"loss": 3.0}}),
    ]
    assert ctx.rng().random() == ctx.rng().random()


def test_scratch_of_doubtful_code_is_a_copy_that_nobody_goes_on_from(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]], tmp_path: Path
) -> None:
    code = tmp_path / "code.py"
    code.write_text("1")
    ctx = context[0]
    ctx.watch = Watch({"code": {str(code): state_of(str(code))}})
    ctx.spare_path = tmp_path / "spare"
    (ctx.scratch / "known").write_text("known")
    assert ctx.scratch == ctx.scratch_path
    code.write_text("2")
    (ctx.scratch / "known").write_text((ctx.scratch / "known").read_text() + "!")
    (ctx.scratch / "new").write_text("new")
    assert {p.name: p.read_text() for p in ctx.scratch.iterdir()} == {
        "known": "known!",
        "new": "new",
    }
    assert {p.name: p.read_text() for p in ctx.scratch_path.iterdir()} == {"known": "known"}


def test_scratch_of_doubtful_data_is_a_copy_too(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.write_text("1")
    before = data.stat()
    ctx = context[0]
    ctx.watch = Watch({"data": {"path": (str(data), tree_stamp([(".", before)]))}})
    ctx.spare_path = tmp_path / "spare"
    assert ctx.scratch == ctx.scratch_path
    data.write_text("1")
    os.utime(data, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ctx.scratch == ctx.spare_path


def test_user_code_may_be_edited_once_it_was_asked_for(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]], tmp_path: Path
) -> None:
    code = tmp_path / "asked_for.py"
    code.write_text("def f():\n    return 1\n")
    ctx = context[0]
    ctx.watch = Watch({"code": {str(code): state_of(str(code))}})
    function = ctx.user_object("asked_for.py:f")
    code.write_text("def f():\n    return 2\n")
    assert ctx.watch.vouch() == []
    assert function() == 1


def test_ports_and_parameters() -> None:
    assert ports_of(Made) == {"numbers": Port(Metrics), "files": Port(Folder, optional=True)}
    assert list(Made().preflight(frozenset())) == []
    for wrong in ({"group": {"rat": 1}}, {"group": {"rate": math.nan}}, {"other": 1}):
        with pytest.raises(ValidationError):
            Made.model_validate(wrong)
    with pytest.raises(TypeError):
        Stage()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[]", "does not hold an object"),
        ("{", "is not JSON"),
        ('{"a": NaN}', "metric 'a' is nan"),
        ('{"a": -Infinity}', "metric 'a' is -inf"),
        ("\xff", "is not JSON"),
    ],
)
def test_metrics_that_are_none(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "metrics.json").write_bytes(body.encode("latin-1"))
    with pytest.raises(StageError, match=message):
        Metrics.check(tmp_path)


def test_numbers_are_the_top_levels_only(tmp_path: Path) -> None:
    value = {"a": 1, "b": 2.5, "flag": True, "text": "x", "curves": {"c": 3}, "none": None}
    Metrics.save(tmp_path, value)
    Metrics.check(tmp_path)
    assert Metrics.numbers(tmp_path) == {"a": 1, "b": 2.5}
    assert json.loads((tmp_path / "metrics.json").read_text()) == value


def test_an_output_without_files_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty folder").mkdir()
    with pytest.raises(StageError, match="Folder: no file was written"):
        Folder.check(tmp_path)
    with pytest.raises(StageError, match=r"metrics\.json was not written"):
        Metrics.check(tmp_path)
    (tmp_path / "empty folder" / "x").touch()
    Folder.check(tmp_path)
    assert issubclass(Folder, Artifact)


@pytest.fixture
def user(tmp_path: Path, context: Any) -> Any:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "code.py").write_text(
        "from beside import number\n\n\nclass Net:\n    number = number\n"
    )
    (tmp_path / "lib" / "beside.py").write_text("number = 7\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    return context[0].user_object


def test_code_is_found_by_file_and_by_module(user: Any) -> None:
    net = user("lib/code.py:Net")
    assert net.number == 7
    # Once imported, it is the same class: what pickles or compares by class works.
    assert user("lib/code.py:Net") is net
    assert user("json:dumps") is json.dumps
    assert user("collections.abc:Mapping").__name__ == "Mapping"


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("nothing", "'nothing' names no code", "FILE.py:NAME"),
        ("lib/code.py:", "names no code", "FILE.py:NAME"),
        ("lib/code.py:Ned", "lib/code.py has no 'Ned'", "did you mean 'Net'?"),
        ("broken.py:x", "importing broken.py failed: ZeroDivisionError: division by zero", "try:"),
        ("absent.py:x", "importing absent.py failed: FileNotFoundError", "try:"),
        ("no.such.module:x", "importing no.such.module failed: ModuleNotFoundError", "try:"),
    ],
)
def test_code_that_is_not_there(user: Any, reference: str, message: str, hint: str) -> None:
    for _ in range(2):
        with pytest.raises(StageError) as caught:
            user(reference)
        problem = caught.value.problems[0]
        assert message in problem.message
        assert hint in problem.hint


def test_scratch_is_the_stages_alone_while_it_runs(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]], tmp_path: Path
) -> None:
    ctx = context[0]
    (ctx.scratch / "known").write_text("known")
    assert held(str(ctx.scratch_path))
    # Somebody else's look at what was edited may take it away.
    ctx.scratch.rename(tmp_path / "away")
    assert list(ctx.scratch.iterdir()) == []
    assert held(str(ctx.scratch_path))
    assert not held(str(tmp_path / "away"))
    ctx.hold.release()
    ctx.hold.release()
    assert not held(str(ctx.scratch_path))


@pytest.mark.parametrize("asked_before", [True, False])
def test_processes_that_the_stage_forks_share_its_scratch(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]], asked_before: bool
) -> None:
    ctx, told = context
    ctx.hold = Hold()
    if asked_before:
        assert ctx.scratch == ctx.scratch_path
    forking = multiprocessing.get_context("fork")
    go = forking.Event()

    def child() -> None:
        assert ctx.scratch == ctx.scratch_path
        assert go.wait(10)
        assert ctx.scratch == ctx.scratch_path
        ctx.hold.release()
        assert not told

    children = [forking.Process(target=child) for _ in range(2)]
    for one in children:
        one.start()
    assert ctx.scratch == ctx.scratch_path
    assert held(str(ctx.scratch_path))
    go.set()
    for one in children:
        one.join()
    assert [one.exitcode for one in children] == [0, 0]
    assert held(str(ctx.scratch_path))
    assert not told


def test_a_process_that_never_ends_is_waited_for_once(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]],
) -> None:
    ctx, told = context
    other = Hold()
    assert other.take(str(ctx.scratch_path), 0)
    ctx.patience = 0.1
    assert ctx.scratch == ctx.scratch_path
    assert ctx.scratch == ctx.scratch_path
    assert told == [("log", {"message": "waiting for a process that a killed run left behind"})]
    other.release()


def test_threads_of_the_stage_share_its_scratch(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]],
) -> None:
    ctx, told = context
    ctx.hold = Hold()
    ready = threading.Barrier(8)

    def ask() -> Path:
        ready.wait()
        return ctx.scratch

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
    assert {future.result() for future in asked} == {ctx.scratch_path}
    assert not told


def test_what_runs_in_one_process_shares_its_scratch(
    context: tuple[Context, list[tuple[str, dict[str, Any]]]],
) -> None:
    ctx, told = context
    assert ctx.scratch == replace(ctx).scratch
    assert not told
