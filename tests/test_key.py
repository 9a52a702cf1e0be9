"""Keys: what enters them, and what says which part changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from projects import GOLDEN, Compile, Folder

from edgepipe.errors import ConfigError
from edgepipe.key import changes, code_digest, key_of, machine, requirements
from edgepipe.sources import Resolved

PINNED = json.loads((GOLDEN / "digests" / "pinned.json").read_text(encoding="utf-8"))
RESOLVED = Resolved({"count": 3}, {"count": 3}, {"file": "f" * 64}, {}, ())
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
        ("params", Resolved({"count": 4}, {}, {"file": "f" * 64}, {}, ())),
        ("params type", Resolved({"count": 3.0}, {}, {"file": "f" * 64}, {}, ())),
        ("contents", Resolved({"count": 3}, {}, {"file": "e" * 64}, {}, ())),
        ("contents name", Resolved({"count": 3}, {}, {"elif": "f" * 64}, {}, ())),
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
    moved = Resolved({"count": 3}, {"file": "/elsewhere"}, {"file": "f" * 64}, {"c": "1"}, ())
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
        ({"params": {"t": 4.0}}, {"params": {"t": 3.0}}, ["params.t: 4.0 → 3.0"]),
        ({"params": {}}, {"params": {"t": None}}, []),
        ({"params": {}}, {"params": {"t": 3}}, ["params.t: 3 is new"]),
        ({"params": {"t": 3}}, {"params": {}}, ["params.t: 3 is gone"]),
        ({"code": "x"}, {"code": "y"}, ["code changed"]),
        ({"inputs": {"a": "x"}}, {"inputs": {"a": "y"}}, ["inputs.a changed"]),
        (
            {"requires": {"torch": "1"}, "seed": 1},
            {"requires": {"torch": "2"}, "seed": 2},
            ["requires.torch: '1' → '2'", "seed: 1 → 2"],
        ),
        ({"params": {"l": [1, 2]}}, {"params": {"l": [1, 3]}}, ["params.l: [1, 2] → [1, 3]"]),
    ],
)
def test_changes_are_said(old: Mapping[str, Any], new: Mapping[str, Any], lines: list[str]) -> None:
    assert list(changes(old, new)) == lines
