"""Keys: what enters them, and what says which part changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from projects import GOLDEN, Compile, Folder

from edgepipe.errors import ConfigError
from edgepipe.explain import changes
from edgepipe.fingerprint import NOTHING, Reached
from edgepipe.key import (
    _distributions,
    code_digest,
    distributions_of,
    installed,
    key_of,
    machine,
    requirements,
)
from edgepipe.sources import Resolved

PINNED = json.loads((GOLDEN / "digests" / "pinned.json").read_text(encoding="utf-8"))
RESOLVED = Resolved({"count": 3}, {"count": 3}, {"file": "f" * 64}, NOTHING, ())
TEXT = (
    "seed: 7\nstages:\n  a: {uses: numbers}\n  b: {uses: double, in: {values: a}}\n"
    "  c: {uses: measure, in: {values: a}}\n"
)


def test_the_pinned_key(compiled: Compile) -> None:
    node = compiled(TEXT).graph.nodes["a"]
    key = key_of(node, RESOLVED, "c" * 64, {"values": "d" * 64})
    made_of = dict(key.made_of)
    # The one part that depends on who runs the test.
    assert made_of.pop("python").startswith("3.")
    assert made_of == PINNED["key_made_of"]


def test_the_seed_enters_where_it_is_used_and_the_machine_where_it_is_measured(
    compiled: Compile,
) -> None:
    nodes = compiled(TEXT).graph.nodes
    parts = {name: set(key_of(nodes[name], RESOLVED, "", {}).made_of) for name in nodes}
    assert parts["a"] - parts["b"] == {"seed"}
    assert parts["c"] - parts["a"] == {"machine"}
    assert {"cpu", "cores", "system"} == set(machine())


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("params", Resolved({"count": 4}, {}, {"file": "f" * 64}, NOTHING, ())),
        ("params type", Resolved({"count": 3.0}, {}, {"file": "f" * 64}, NOTHING, ())),
        ("contents", Resolved({"count": 3}, {}, {"file": "e" * 64}, NOTHING, ())),
        ("contents name", Resolved({"count": 3}, {}, {"elif": "f" * 64}, NOTHING, ())),
    ],
)
def test_every_part_changes_the_key(compiled: Compile, what: str, other: Resolved) -> None:
    node = compiled(TEXT).graph.nodes["a"]
    key = key_of(node, RESOLVED, "c", {"x": "1"}).digest
    assert key_of(node, other, "c", {"x": "1"}).digest != key, what
    assert key_of(node, RESOLVED, "d", {"x": "1"}).digest != key
    assert key_of(node, RESOLVED, "c", {"x": "2"}).digest != key
    assert key_of(node, RESOLVED, "c", {"y": "1"}).digest != key
    # What only the worker needs, such as where a file lies, does not count.
    moved = Resolved(
        {"count": 3},
        {"file": "/elsewhere"},
        {"file": "f" * 64},
        Reached({"c": "1"}, frozenset()),
        (),
    )
    assert key_of(node, moved, "c", {"x": "1"}).digest == key


def test_a_code_digest_depends_on_every_name_and_digest() -> None:
    found = {
        code_digest(code)[0]
        for code in ({}, {"a": "b"}, {"a": "c"}, {"b": "b"}, {"a": "b", "b": "b"}, {"ab": ""})
    }
    assert len(found) == 6


def test_versions_of_what_a_stage_requires(compiled: Compile, project: Folder) -> None:
    body = (
        "from edgepipe.stage import Context, Folder, Stage\n\n\nclass Needs(Stage):\n"
        "    '''Needs something.'''\n\n    outputs = {'out': Folder}\n"
        "    requires = ('pyyaml', 'REQUIRED')\n\n    def run(self, ctx: Context) -> None: ...\n"
    )
    project.write("plugins/needs.py", body.replace("REQUIRED", "pydantic"))
    node = compiled("stages: {n: {uses: needs}}\n").graph.nodes["n"]
    assert set(requirements(node)) == {"pyyaml", "pydantic"}
    project.write("plugins/absent.py", body.replace("REQUIRED", "no-such-distribution"))
    with pytest.raises(ConfigError) as caught:
        compiled("stages: {n: {uses: absent}, m: {uses: double, in: {values: n}}}\n")
    with pytest.raises(ConfigError) as caught:
        compiled("stages: {n: {uses: absent}}\n")
    problem = caught.value.problems[0]
    assert problem.message == "absent requires no-such-distribution, which is not installed"
    assert "pip install no-such-distribution" in problem.hint
    assert problem.where is not None
    assert problem.where.line == 3


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"params": {"t": 4.0}}, {"params": {"t": 3.0}}, ["n.with.t: 4.0 → 3.0"]),
        ({"params": {"t": 4}}, {"params": {"t": 4.0}}, ["n.with.t: 4 → 4.0"]),
        ({"params": {"t": True}}, {"params": {"t": 1}}, ["n.with.t: true → 1"]),
        ({"params": {}}, {"params": {"t": None}}, []),
        ({"params": {}}, {"params": {"t": 3}}, ["n.with.t: 3 is new"]),
        ({"params": {"t": 3}}, {"params": {}}, ["n.with.t: 3 is gone"]),
        ({"code": "x"}, {"code": "y"}, ["code changed"]),
        ({"inputs": {"a": "x"}}, {"inputs": {"a": "y"}}, ["input a (source) changed"]),
        ({"inputs": {}}, {"inputs": {"a": "y"}}, ["input a (source) is connected now"]),
        (
            {"requires": {"torch": "1"}, "seed": 1},
            {"requires": {"torch": "2"}, "seed": 2},
            ["seed: 1 → 2", "torch 1 → 2"],
        ),
        ({"requires": {}}, {"requires": {"torch": "2"}}, ["torch 2 is required now"]),
        ({"machine": {"cores": 2}}, {"machine": {"cores": 4}}, ["machine cores: 2 → 4"]),
        ({"environment": "a"}, {"environment": "b"}, ["environment: a → b"]),
        ({"params": {"l": [1, 2]}}, {"params": {"l": [1, 3]}}, ["n.with.l: [1, 2] → [1, 3]"]),
        (
            {"params": {"l": [{"a": 1}]}},
            {"params": {"l": [{"a": 2}]}},
            ["n.with.l.0.a: 1 → 2"],
        ),
        (
            {"contents": {"path": "a"}},
            {"contents": {"path": "b"}},
            ["n.with.path: its files changed"],
        ),
    ],
)
def test_changes_are_said(old: Mapping[str, Any], new: Mapping[str, Any], lines: list[str]) -> None:
    found = changes("n", old, new, sources={"a": "source"})
    assert [change.text for change in found] == lines
    assert json.loads(json.dumps([change.as_json() for change in found]))[:1] == [
        change.as_json() for change in found[:1]
    ]


def test_changes_of_code_and_files_are_named() -> None:
    then = {
        "code": {"a.py:f": "1", "a.py:g": "1", "b.py:h": "1"},
        "contents.path": {"x": "1", "y": "1"},
    }
    now = {
        "code": {"a.py:f": "2", "a.py:g": "1", "c.py:i": "1"},
        "contents.path": {"x": "2", "z": "1"},
    }
    old, new = {"code": "1", "contents": {"path": "1"}}, {"code": "2", "contents": {"path": "2"}}
    found = changes("n", old, new, lambda name: (then[name], now[name]))
    assert [change.text for change in found] == [
        "n.with.path: 1 changed, 1 new, 1 gone of 3 files: x, z, y",
        "code: a.py:f, c.py:i is new, b.py:h is gone",
    ]
    assert found[1].details == {"changed": ["a.py:f"], "new": ["c.py:i"], "gone": ["b.py:h"]}


def test_many_changes_are_counted() -> None:
    then = {f"m.py:f{i}": "1" for i in range(9)}
    now = {f"m.py:f{i}": "2" for i in range(9)}
    found = changes("n", {"code": "1"}, {"code": "2"}, lambda name: (then, now))
    assert found[0].text == "code: m.py:f0, m.py:f1, m.py:f2 and 6 more"
    files = {str(i): "1" for i in range(1797)}
    edited = {**files, "1": "2", "5": "2", "7": "2"}
    old, new = {"contents": {"path": "1"}}, {"contents": {"path": "2"}}
    found = changes("data", old, new, lambda name: (files, edited))
    assert found[0].text == "data.with.path: 3 changed of 1,797 files: 1, 5, 7"


def test_what_the_user_s_code_imports_is_found_among_distributions() -> None:
    assert distributions_of("yaml") == {"pyyaml": installed("pyyaml")}
    assert distributions_of("blake3") == {"blake3": installed("blake3")}
    assert distributions_of("_pytest") == {"pytest": installed("pytest")}
    assert distributions_of("no_such_module") == {}


def test_distributions_that_share_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / "shared" / name).mkdir(parents=True)
        (tmp_path / "shared" / name / "__init__.py").write_text("")
        info = tmp_path / f"shared_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: shared-{name}\nVersion: 1.0\n"
        )
        (info / "RECORD").write_text(f"shared/{name}/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _distributions.cache_clear()
    try:
        assert distributions_of("shared") == {"shared-one": "1.0", "shared-two": "1.0"}
    finally:
        _distributions.cache_clear()
