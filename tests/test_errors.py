"""Errors as people and programs see them."""

from __future__ import annotations

import pickle

import pytest

from edgepipe.errors import (
    ConfigError,
    EdgepipeError,
    GateError,
    Problem,
    StageError,
    StoreError,
    Where,
    did_you_mean,
)


def test_a_problem_with_all_its_parts() -> None:
    where = Where("p.yaml", 7, 9, "  seed: many", 4)
    assert Problem("a seed is a number", "like 7\nor 8", where).render() == (
        "p.yaml:7:9: error: a seed is a number\n"
        "    7 |   seed: many\n"
        "      |         ^^^^\n"
        "  like 7\n"
        "  or 8"
    )


def test_a_problem_without_a_place() -> None:
    assert Problem("it is late").render() == "error: it is late"
    assert Problem("it is late").as_json() == {"message": "it is late", "hint": ""}


@pytest.mark.parametrize(("column", "width"), [(1, 1), (3, 100), (12, 1), (13, 1), (40, 3)])
def test_a_caret_never_leaves_its_line_far(column: int, width: int) -> None:
    text = "twelve signs"
    lines = Problem("m", "", Where("f", 1, column, text, width)).render().splitlines()
    carets = lines[2].count("^")
    assert 1 <= carets <= max(1, len(text) - column + 1)


def test_errors_have_their_exit_codes_and_survive_another_process() -> None:
    codes = {EdgepipeError: 1, ConfigError: 2, StageError: 1, StoreError: 1, GateError: 3}
    for type_, code in codes.items():
        error = type_([Problem("one", "do"), Problem("two")])
        assert error.exit_code == code
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type_
        assert again.render() == error.render() == "error: one\n  do\n\nerror: two"
        assert str(error) == "one\ntwo"


@pytest.mark.parametrize(
    ("name", "choices", "hint"),
    [
        ("epohs", ["epochs", "seed"], "did you mean 'epochs'? names: epochs, seed"),
        ("zzz", ["seed", "epochs"], "names: epochs, seed"),
        ("zzz", [], "names: none"),
    ],
)
def test_hints_name_the_nearest_choice(name: str, choices: list[str], hint: str) -> None:
    assert did_you_mean(name, choices, "names") == hint


def test_very_many_problems_and_choices_do_not_flood_the_terminal() -> None:
    names = [f"n{number:04}" for number in range(2000)]
    hint = did_you_mean("n1234x", names, "nodes")
    assert hint.startswith("did you mean 'n1234'? nodes: n0000, n0001")
    assert hint.endswith("n0049 and 1,950 more")
    error = ConfigError([Problem(f"problem {number}", hint) for number in range(2000)])
    shown = error.render()
    assert "problem 49\n" in shown
    assert "problem 50\n" not in shown
    assert shown.endswith("and 1,950 more problems, which --json lists")
    assert len(shown) < 50_000
