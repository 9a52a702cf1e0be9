"""Includes, variables and overrides: what the one tree comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import Folder

from edgepipe.config import Config, load
from edgepipe.errors import ConfigError


def plain(project: Folder, text: str, *overrides: str) -> Any:
    config = load(project.write("p.yaml", text), overrides)
    assert not config.problems
    return config.root.plain()


def test_included_mappings_are_merged_deeply_and_the_includer_wins(project: Folder) -> None:
    project.write(
        "base.yaml", "seed: 1\nstages:\n  a: {uses: numbers, with: {count: 3, start: 2}}\n"
    )
    found = plain(
        project, "include: base.yaml\nstages:\n  a: {with: {count: 4}}\n  b: {uses: double}\n"
    )
    assert found["seed"] == 1
    assert found["stages"] == {
        "a": {"uses": "numbers", "with": {"count": 4, "start": 2}},
        "b": {"uses": "double"},
    }


def test_later_includes_win_over_earlier_ones_and_gates_are_joined(project: Folder) -> None:
    project.write("one.yaml", "name: one\nseed: 1\ngates: [a.x < 1]\n")
    project.write("two.yaml", "name: two\ngates: [a.x < 2]\n")
    found = plain(project, "include: [one.yaml, two.yaml]\ngates: [a.x < 3]\n")
    assert found["name"] == "two"
    assert found["seed"] == 1
    assert found["gates"] == ["a.x < 1", "a.x < 2", "a.x < 3"]


def test_lists_are_replaced_and_a_value_of_another_shape_wins(project: Folder) -> None:
    project.write("base.yaml", "vars: {sizes: [1, 2, 3], group: {a: 1}, text: x}\n")
    found = plain(project, "include: base.yaml\nvars: {sizes: [4], group: 7, text: {b: 2}}\n")
    assert found["vars"] == {"sizes": [4], "group": 7, "text": {"b": 2}}


def test_includes_are_relative_to_the_file_that_writes_them(project: Folder) -> None:
    project.write("deep/one.yaml", "include: er/two.yaml\nseed: 1\n")
    project.write("deep/er/two.yaml", "include: ../../top.yaml\nname: two\n")
    project.write("top.yaml", "description: top\n")
    config = load(project.write("p.yaml", "include: deep/one.yaml\n"))
    assert config.root.plain() | {"include": 0} == {
        "include": 0,
        "seed": 1,
        "name": "two",
        "description": "top",
    }
    names = [path.name for path in config.files]
    assert names == ["p.yaml", "one.yaml", "two.yaml", "top.yaml"]


def test_a_file_may_be_included_twice_by_two(project: Folder) -> None:
    project.write("base.yaml", "seed: 1\n")
    project.write("one.yaml", "include: base.yaml\n")
    project.write("two.yaml", "include: base.yaml\n")
    assert plain(project, "include: [one.yaml, two.yaml]\n")["seed"] == 1


def test_a_link_to_itself_is_a_loop_too(project: Folder) -> None:
    path = project.write("p.yaml", "include: q.yaml\n")
    (project.path / "q.yaml").symlink_to(path)
    with pytest.raises(ConfigError, match="includes itself"):
        load(path)


def test_a_hundred_files_at_most(project: Folder) -> None:
    for number in range(120):
        project.write(f"{number}.yaml", f"include: {number + 1}.yaml\n")
    with pytest.raises(ConfigError, match="more than 100"):
        load(project.path / "0.yaml")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3), ("2.5", 2.5), ("no", "no"), ("true", True), ("null", None), ("'3'", "3")],
)
def test_a_variable_alone_keeps_its_type(project: Folder, value: str, expected: object) -> None:
    found = plain(project, f"vars: {{v: {value}}}\nstages: {{a: '${{v}}'}}\n")
    assert found["stages"]["a"] == expected
    assert type(found["stages"]["a"]) is type(expected)


def test_a_variable_in_a_text_becomes_text(project: Folder) -> None:
    text = "vars: {n: 3, f: 0.5, t: true, z: null}\nname: 'a${n}-${f}-${t}-${ z }-${vars.n}'\n"
    assert plain(project, text)["name"] == "a3-0.5-true-null-3"


def test_variables_build_on_each_other_whatever_their_order(project: Folder) -> None:
    text = "vars: {c: '${b}', b: ['${a}', 'x${a}'], a: 3}\nstages: '${c}'\n"
    assert plain(project, text)["stages"] == [3, "x3"]


def test_a_collection_can_be_a_variable_and_keeps_the_places_of_its_keys(project: Folder) -> None:
    text = "vars:\n  group: {a: 1, b: ['${n}']}\n  n: 2\nstages: {x: {with: '${group}'}}\n"
    config = load(project.write("p.yaml", text))
    group = config.root.at(("stages", "x", "with"))
    assert group.plain() == {"a": 1, "b": [2]}
    assert group.key("b").where.line == 2


def test_dollars(project: Folder) -> None:
    text = "vars: {n: 3}\nname: 'a$b $ ${matrix.x} $${n} $$ ${n}'\n"
    # What belongs to the matrix, and escapes, wait for the nodes.
    assert plain(project, text)["name"] == "a$b $ ${matrix.x} $${n} $$ 3"


def test_all_wrong_variables_are_found_once_each(project: Folder) -> None:
    text = "vars: {a: '${x}', b: '${a}', c: '${d}', d: '${c}'}\nname: '${b}${y}'\nseed: '${b}'\n"
    config = load(project.write("p.yaml", text))
    messages = list(dict.fromkeys(problem.message for problem in config.problems))
    assert messages == [
        "there is no variable 'x'",
        "variables build on each other: c → d → c",
        "there is no variable 'y'",
    ]
    root = config.root
    assert root.at(("name",)).where in config.unknown
    assert root.at(("seed",)).where in config.unknown


def test_a_chain_of_twenty_variables_and_no_more(project: Folder) -> None:
    def chain(length: int) -> Config:
        links = "".join(f"  v{n + 1}: '${{v{n}}}'\n" for n in reversed(range(length)))
        return load(project.write("p.yaml", f"vars:\n{links}  v0: 7\nseed: '${{v{length}}}'\n"))

    assert chain(18).root.value["seed"].value == 7
    assert "more than 20 deep" in chain(30).problems[0].message


BASE = """
vars: {n: 3}
seed: 1
stages:
  a: &a {uses: numbers, with: {count: 3}}
  b: *a
  c: {uses: numbers}
"""


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a.with.count=5", ("a", "with", "count"), 5),
        ("stages.a.with.count=5", ("a", "with", "count"), 5),
        ("a.with.start=1.5", ("a", "with", "start"), 1.5),
        ("a.with.count='5'", ("a", "with", "count"), "5"),
        ("a.with.count=", ("a", "with", "count"), None),
        ("a.with.count=[1, 2]", ("a", "with", "count"), [1, 2]),
        ("a.with={start: 2}", ("a", "with"), {"start": 2}),
        ("a.with.deep.er.still=x=y", ("a", "with", "deep", "er", "still"), "x=y"),
        ("c.with.count=1", ("c", "with", "count"), 1),
        ("a.seed=9", ("a", "seed"), 9),
        ("a.with.count=${n}", ("a", "with", "count"), 3),
    ],
)
def test_set(project: Folder, text: str, path: tuple[str, ...], value: object) -> None:
    found: Any = plain(project, BASE, text)["stages"]
    for part in path:
        found = found[part]
    assert found == value
    assert type(found) is type(value)


def test_set_of_bytes_that_are_no_utf_8(project: Folder) -> None:
    path = project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {a: {uses: numbers}}\n")
    for override in ("name=\udcff", "\udcff=3"):
        problems = load(path, [override]).problems
        assert [p.message for p in problems] == ["--set of what is not UTF-8 text"]


def test_set_changes_only_what_it_names(project: Folder) -> None:
    # b is an alias of a.
    found = plain(project, BASE, "a.with.count=5")["stages"]
    assert found["b"]["with"]["count"] == 3
    found = plain(project, BASE, "b.with.count=5")["stages"]
    assert found["a"]["with"]["count"] == 3


def test_the_last_set_wins_and_variables_see_it(project: Folder) -> None:
    text = BASE + "description: 'n is ${n}'\n"
    assert plain(project, text, "vars.n=4", "vars.n=5")["description"] == "n is 5"
    assert plain(project, text, "seed=7")["seed"] == 7


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.integers(0, 9) | st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9)),
    )
)
def test_including_nothing_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]
) -> None:
    folder: Path = tmp_path_factory.mktemp("include")
    (folder / "empty.yaml").write_text("{}\n")
    (folder / "p.yaml").write_text(f"include: empty.yaml\nvars: {value}\n")
    assert load(folder / "p.yaml").root.plain()["vars"] == value
