"""Matrices: the nodes that they make, and how readers inherit them."""

from __future__ import annotations

import pytest
from compiling import inputs, messages
from projects import Compile


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
