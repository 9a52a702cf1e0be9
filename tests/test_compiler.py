"""From a pipeline to its graph: matrices, ports, gates, until."""

from __future__ import annotations

import pytest
from projects import Compile, Folder

from edgepipe.errors import ConfigError

NUMBERS = "stages:\n  numbers: {uses: numbers}\n"


def inputs(compile_: Compile, text: str) -> dict[str, dict[str, str]]:
    nodes = compile_(text).graph.nodes
    return {n: {p: str(s) for p, s in node.inputs.items()} for n, node in nodes.items()}


def messages(compile_: Compile, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compile_(text)
    return [problem.message for problem in caught.value.problems]


def test_a_matrix_makes_a_node_for_each_combination(compiled: Compile) -> None:
    text = "stages: {a: {uses: numbers, matrix: {count: [1, 2], start: [0.5, 1]}}}\n"
    nodes = compiled(text).graph.nodes
    assert {n: (s.stage.count, s.stage.start) for n, s in nodes.items()} == {
        "a[1,0.5]": (1, 0.5),
        "a[1,1]": (1, 1.0),
        "a[2,0.5]": (2, 0.5),
        "a[2,1]": (2, 1.0),
    }


def test_readers_inherit_a_matrix(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2]}}\n"
        "  b: {uses: double, in: {values: a}}\n"
        "  c: {uses: double, in: {values: b}, matrix: {factor: [3, 4]}}\n"
        "  d: {uses: total, in: {left: c, right: a}}\n"
    )
    found = inputs(compiled, text)
    assert found["b[2]"] == {"values": "a[2].values"}
    assert found["c[2,3]"] == {"values": "b[2].values"}
    assert found["d[2,3]"] == {"left": "c[2,3].values", "right": "a[2].values"}
    assert len(found) == 2 + 2 + 4 + 4


def test_two_axes_of_two_inputs_are_crossed(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2]}}\n"
        "  b: {uses: numbers, matrix: {start: [3, 4]}}\n"
        "  c: {uses: total, in: {left: a, right: b}}\n"
    )
    found = inputs(compiled, text)
    assert [name for name in found if name[0] == "c"] == ["c[1,3]", "c[1,4]", "c[2,3]", "c[2,4]"]
    assert found["c[2,3]"] == {"left": "a[2].values", "right": "b[3].values"}


def test_an_axis_of_two_inputs_runs_over_what_they_share(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2, 3]}}\n"
        "  b: {uses: numbers, matrix: {count: [3, 2]}}\n"
        "  c: {uses: total, in: {left: a, right: b}}\n"
    )
    assert [n for n in inputs(compiled, text) if n[0] == "c"] == ["c[2]", "c[3]"]


@pytest.mark.parametrize("index", ["exact", "mode=exact", " mode = exact "])
def test_an_index_picks_by_value_or_by_name(compiled: Compile, index: str) -> None:
    text = (
        "stages:\n  a: {uses: parameters, with: {size: 16}, matrix: {mode: [fast, exact]}}\n"
        f"  b: {{uses: double, in: {{values: 'a[{index}].values'}}}}\n"
        f"gates: ['a[{index}].size < 3']\n"
    )
    compiled_ = compiled(text)
    assert str(compiled_.graph.nodes["b"].inputs["values"]) == "a[exact].values"
    assert [gate.text for gate, _ in compiled_.graph.gates] == ["a[exact].size < 3"]


def test_an_index_of_one_axis_leaves_the_other_open(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2], start: [5]}}\n"
        "  b: {uses: double, in: {values: 'a[count=2]'}}\n"
        "  c: {uses: double, in: {values: 'a[start=5]'}}\n"
        "  d: {uses: double, in: {values: 'a[1,5]'}}\n"
        "  e: {uses: double, in: {values: 'a[2]'}}\n"
    )
    found = inputs(compiled, text)
    assert found["b[5]"] == {"values": "a[2,5].values"}
    assert found["c[1]"] == {"values": "a[1,5].values"}
    assert found["d"] == {"values": "a[1,5].values"}
    assert found["e[5]"] == {"values": "a[2,5].values"}


def test_an_indexed_input_stays_while_another_runs_over_the_axis(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2, 3]}}\n"
        "  compare: {uses: total, in: {left: a, right: 'a[1]'}}\n"
    )
    found = inputs(compiled, text)
    for value in (1, 2, 3):
        assert found[f"compare[{value}]"] == {
            "left": f"a[{value}].values",
            "right": "a[1].values",
        }


def test_matrix_variables(compiled: Compile) -> None:
    text = (
        "stages:\n  a:\n    uses: parameters\n"
        "    with: {size: 16, title: 'n ${matrix.n} of $${n} $$', depth: '${matrix.n}'}\n"
        "    matrix: {n: [1, 2]}\n"
    )
    nodes = compiled(text).graph.nodes
    assert [s.stage.title for s in nodes.values()] == ["n 1 of ${n} $", "n 2 of ${n} $"]
    assert [s.stage.depth for s in nodes.values()] == [1, 2]


def test_an_axis_whose_name_begins_another_is_not_taken_for_it(compiled: Compile) -> None:
    text = (
        "stages:\n  a:\n    uses: parameters\n    with: {size: 16, title: '${matrix.depths}'}\n"
        "    matrix: {depth: [1, 2], depths: [x]}\n"
    )
    assert [s.stage.depth for s in compiled(text).graph.nodes.values()] == [1, 2]


def test_inherited_axes_can_be_used_as_variables(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2]}}\n"
        "  b: {uses: double, in: {values: a}, with: {factor: '${matrix.count}'}}\n"
    )
    nodes = compiled(text).graph.nodes
    assert [nodes[f"b[{n}]"].stage.factor for n in (1, 2)] == [1.0, 2.0]


@pytest.mark.parametrize("values", ["[1, '1']", "[true, 'true']", "[1, 1.0]", "[1, true]"])
def test_values_that_cannot_be_told_apart_are_refused(compiled: Compile, values: str) -> None:
    text = f"stages: {{a: {{uses: numbers, matrix: {{x: {values}}}}}}}\n"
    assert any("is there twice" in m for m in messages(compiled, text))


def test_a_reference_without_a_port_means_the_one_that_fits(compiled: Compile) -> None:
    text = NUMBERS + "  double: {uses: double, in: {values: numbers}}\n"
    # FewNumbers are Numbers.
    assert inputs(compiled, text)["double"] == {"values": "numbers.values"}


def test_several_that_fit_must_be_named(compiled: Compile, project: Folder) -> None:
    project.write(
        "plugins/twins.py",
        "from _values import Numbers\nfrom edgepipe.stage import Context, Stage\n\n\n"
        "class Twins(Stage):\n    '''Two.'''\n\n"
        "    outputs = {'one': Numbers, 'two': Numbers}\n\n"
        "    def run(self, ctx: Context) -> None: ...\n",
    )
    text = "stages:\n  t: {uses: twins}\n  d: {uses: double, in: {values: t}}\n"
    assert messages(compiled, text) == [
        "input 'values' of double takes Numbers, and 't' gives several"
    ]
    assert inputs(compiled, text.replace("values: t}", "values: t.two}"))["d"] == {
        "values": "t.two"
    }


def test_nodes_come_after_what_they_read(compiled: Compile) -> None:
    text = (
        "stages:\n  c: {uses: total, in: {left: b, right: a}}\n"
        "  b: {uses: double, in: {values: a}}\n  a: {uses: numbers}\n"
    )
    graph = compiled(text).graph
    assert list(graph.nodes) == ["a", "b", "c"]
    assert graph.users == {"a": ("b", "c"), "b": ("c",), "c": ()}
    assert sorted(graph.digraph.edges) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_node_settings(compiled: Compile) -> None:
    text = "seed: 3\nstages:\n  a: {uses: numbers}\n  b: {uses: numbers, seed: 0, cpus: 4, timeout: 5}\n"
    nodes = compiled(text).graph.nodes
    assert (nodes["a"].seed, nodes["a"].cpus, nodes["a"].timeout) == (3, 1, None)
    assert (nodes["b"].seed, nodes["b"].cpus, nodes["b"].timeout) == (0, 4, 5.0)


def test_one_wrong_name_gives_one_error(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: nubmers, matrix: {count: [1, 2]}}\n"
        "  b: {uses: double, in: {values: a}, with: {factor: '${matrix.count}'}}\n"
        "  c: {uses: double, in: {values: 'b[2]'}, matrix: {factor: [1, 2]}}\n"
        "  d: {uses: total, in: {left: c, right: b}}\n"
        "gates: ['a[1].total < 3', 'd.total < 3', 'b[2].size < 1 kB', 'c[1].size < 3']\n"
    )
    assert messages(compiled, text) == ["unknown kind 'nubmers'"]


def test_a_wrong_parameter_hides_no_other_error(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, with: {count: 0}}\n"
        "  b: {uses: nothing, in: {values: a}}\n"
        "  c: {uses: double, in: {values: b}, with: {factor: -1}}\n"
    )
    assert len(messages(compiled, text)) == 3


GRAPH = (
    "stages:\n  a: {uses: numbers, matrix: {count: [1, 2]}}\n"
    "  b: {uses: double, in: {values: a}, matrix: {factor: [3, 4]}}\n"
    "  c: {uses: total, in: {left: b}}\n  other: {uses: numbers}\n"
)


def test_a_gate_is_bound_for_each_point_of_its_matrices(compiled: Compile) -> None:
    text = (
        GRAPH
        + "gates:\n  - c.total >= a.total\n  - 'c[2,4].total > a[1].total'\n  - a.size < 1 kB\n"
    )
    bound = [gate.text for gate, _ in compiled(text).graph.gates]
    assert bound == [
        "c[1,3].total >= a[1].total",
        "c[1,4].total >= a[1].total",
        "c[2,3].total >= a[2].total",
        "c[2,4].total >= a[2].total",
        "c[2,4].total > a[1].total",
        "a[1].size < 1 kB",
        "a[2].size < 1 kB",
    ]


def test_until_keeps_ancestors_and_their_gates(compiled: Compile) -> None:
    text = GRAPH + "gates: ['a[1].total >= 0', 'a[2].total >= 0', other.total >= 0]\n"
    graph = compiled(text, until="b[1,4]").graph
    assert list(graph.nodes) == ["a[1]", "b[1,4]"]
    assert [gate.text for gate, _ in graph.gates] == ["a[1].total >= 0"]
    assert len(compiled(text, until="b").graph.nodes) == 6
    with pytest.raises(ConfigError, match="there is no node 'z'"):
        compiled(text, until="z")


def test_a_large_graph_compiles(compiled: Compile) -> None:
    chain = "".join(
        f"  n{i}: {{uses: double, in: {{values: {'start' if i == 0 else f'n{i - 1}'}}}}}\n"
        for i in range(1500)
    )
    graph = compiled(f"stages:\n  start: {{uses: numbers}}\n{chain}").graph
    assert len(graph.nodes) == 1501
    assert list(graph.nodes)[-1] == "n1499"


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


def test_an_index_of_one_axis_leaves_the_other_to_be_matched(compiled: Compile) -> None:
    text = (
        "stages:\n  a: {uses: numbers, matrix: {count: [1, 2], start: [3, 4]}}\n"
        "gates: ['a.total >= a[count=1].total']\n"
    )
    assert [gate.text for gate, _ in compiled(text).graph.gates] == [
        "a[1,3].total >= a[1,3].total",
        "a[1,4].total >= a[1,4].total",
        "a[2,3].total >= a[1,3].total",
        "a[2,4].total >= a[1,4].total",
    ]


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
