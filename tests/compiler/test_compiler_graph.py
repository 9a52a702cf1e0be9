"""Ports, references, gates and parts of a graph."""

from __future__ import annotations

import pytest
from compiling import NUMBERS, inputs, messages
from projects import Compile, Folder

from edgepipe.errors import ConfigError


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
