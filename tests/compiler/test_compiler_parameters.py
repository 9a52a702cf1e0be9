"""Parameters: the files and code that they name, and what reaches the worker."""

from __future__ import annotations

import pytest
from compiling import messages
from projects import Compile, Folder

from edgepipe.errors import ConfigError


def test_code_outside_the_project_is_refused(compiled: Compile, project: Folder) -> None:
    outside = project.path.parent / "outside.py"
    outside.write_text("def f(text): return text\n")
    text = "stages: {a: {uses: text.upper, with: {code: '../outside.py:f'}}}\n"
    assert messages(compiled, text) == ["../outside.py is outside the project"]
    (project.path / "link.py").symlink_to(outside)
    text = "stages: {a: {uses: text.upper, with: {code: 'link.py:f'}}}\n"
    assert messages(compiled, text) == ["link.py is outside the project"]


def test_names_of_code_are_relative_to_the_project_wherever_they_are_written(
    compiled: Compile, project: Folder
) -> None:
    project.write("parts/code.py", "def f(text):\n    return text\n")
    project.write("parts/words.txt", "hello")
    part = "stages: {a: {uses: text.upper, with: {code: 'code.py:f', file: words.txt}}}\n"
    project.write("parts/p.yaml", part)
    text = "stages: {b: {uses: text.upper, with: {code: 'json:loads'}}}\n"
    found = compiled("include: parts/p.yaml\n" + text)
    nodes = found.graph.nodes
    resolved = found.planner.resolved(nodes["a"])
    assert resolved.for_worker["code"] == "parts/code.py:f"
    assert resolved.for_worker["file"] == str(project.path / "parts" / "words.txt")
    # Where a file lies does not enter the key, its content does.
    assert resolved.for_key["file"] is None
    assert set(resolved.contents) == {"file"}
    assert set(resolved.reached.code) == {"parts/code.py:f"}
    assert found.planner.resolved(nodes["b"]).reached.code == {}


MANY = """
from edgepipe.stage import Context, Field, Folder, Params, Stage, UserCode, UserPath


class Part(Params):
    path: UserPath = Field(description='x')


class Many(Stage):
    outputs = {'out': Folder}
    files: list[UserPath] = Field([], description='x')
    named: dict[str, UserPath] = Field({}, description='x')
    parts: list[Part] = Field([], description='x')
    codes: dict[str, UserCode] = Field({}, description='x')

    def run(self, ctx: Context) -> None: ...
"""


def test_files_in_lists_groups_and_mappings_are_found(compiled: Compile, project: Folder) -> None:
    project.write("plugins/many.py", MANY)
    for name in "abc":
        project.write(name, name)
    text = (
        "stages:\n  m:\n    uses: many\n    with:\n"
        "      files: [a, b]\n      named: {x: c}\n      parts: [{path: a}]\n"
    )
    compiled_ = compiled(text)
    resolved = compiled_.planner.resolved(compiled_.graph.nodes["m"])
    assert set(resolved.contents) == {"files.0", "files.1", "named.x", "parts.0.path"}
    assert resolved.contents["files.0"] == resolved.contents["parts.0.path"]
    assert resolved.for_worker["named"] == {"x": str(project.path / "c")}
    assert resolved.for_worker["parts"] == [{"path": str(project.path / "a")}]
    wrong = text.replace("[a, b]", "[a, absent]").replace("path: a", "path: gone")
    assert messages(compiled, wrong) == ["there is no absent", "there is no gone"]


KEPT = """\
import os
from pydantic import SecretStr, computed_field, field_validator

from edgepipe.stage import Context, Field, Folder, Stage


class Kept(Stage):
    outputs = {"out": Folder}
    FIELDS

    def run(self, ctx: Context) -> None:
        pass
"""


@pytest.mark.parametrize(
    ("fields", "given", "named"),
    [
        ("t: SecretStr", "t: abc", "t"),
        ("t: int = Field(0, exclude=True)", "t: 1", "t"),
        (
            "t: int\n    @field_validator('t')\n    @classmethod\n"
            "    def double(cls, v): return 2 * v",
            "t: 3",
            "t",
        ),
        ("t: int = 1\n    @computed_field\n    def u(self) -> int: return 1", "t: 1", "u"),
        ("t: int = Field(1, serialization_alias='other')", "t: 1", "other"),
    ],
)
def test_parameters_that_a_worker_would_read_otherwise(
    compiled: Compile, project: Folder, fields: str, given: str, named: str
) -> None:
    project.write("plugins/kept.py", KEPT.replace("FIELDS", fields))
    with pytest.raises(ConfigError) as caught:
        compiled(f"stages: {{a: {{uses: kept, with: {{{given}}}}}}}\n")
    assert caught.value.problems[0].message.startswith(f"{named} would reach the worker changed")


def test_parameters_of_all_sorts_reach_the_worker_as_they_are(
    compiled: Compile, project: Folder
) -> None:
    fields = (
        "a: float = 1\n    b: tuple[int, ...] = (1, 2)\n    c: dict[int, str] = {3: 'x'}\n"
        "    d: set[str] = {'a', 'b'}\n    e: int | str | None = '5'\n    f: bytes = b'x'\n"
        "    @field_validator('e')\n    @classmethod\n    def same(cls, v): return v"
    )
    project.write("plugins/kept.py", KEPT.replace("FIELDS", fields))
    compiled("stages: {a: {uses: kept, with: {e: '7'}}}\n")


SETS = """\
from dataclasses import dataclass

from edgepipe.stage import Context, Field, Metric, Metrics, Params, Stage


@dataclass(frozen=True)
class Pair:
    left: frozenset[str]


class Group(Params):
    inner: list[frozenset[str]] = Field([frozenset("xyz")], alias="in")


class Sets(Stage):
    outputs = {"report": Metrics}
    metrics = {"seen": Metric("number", "their order")}
    tags: set[str] = set("abcdef")
    deep: set[frozenset[str]] = {frozenset("abc"), frozenset("abd"), frozenset("cd")}
    named: dict[str, set[str]] = {"b": set("pqr"), "a": set("stu")}
    pair: Pair = Pair(frozenset("klm"))
    group: Group = Group()

    def run(self, ctx: Context) -> None:
        ctx.save("report", {"seen": float(hash("".join(self.tags)) % 10**6)})
"""


def test_sets_have_one_order_in_every_process(project: Folder) -> None:
    project.write("plugins/sets.py", SETS)
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: sets}}\n")
    seeds = range(1, 6)
    runs = [
        project.edgepipe("run", "p.yaml", "--json", "--fresh", "s", PYTHONHASHSEED=str(seed))
        for seed in seeds
    ]
    nodes = [run.json["nodes"][0] for run in runs]
    assert len({node["key"] for node in nodes}) == 1
    assert len({node["metrics"]["seen"] for node in nodes}) == 1
    assert all(node["params"] == nodes[0]["params"] for node in nodes)
    assert nodes[0]["params"] == {
        "tags": list("abcdef"),
        "deep": [["a", "b", "c"], ["a", "b", "d"], ["c", "d"]],
        "named": {"b": ["p", "q", "r"], "a": ["s", "t", "u"]},
        "pair": {"left": ["k", "l", "m"]},
        "group": {"in": [["x", "y", "z"]]},
    }
    told = {project.edgepipe("stages", "--json", PYTHONHASHSEED=str(seed)).out for seed in seeds}
    assert len(told) == 1
    assert '"default": {"b": ["p", "q", "r"], "a": ["s", "t", "u"]}' in " ".join(
        told.pop().split()
    ).replace("[ ", "[").replace(" ]", "]").replace("{ ", "{").replace(" }", "}")
