"""Digests: pinned, and equal if and only if what they digest is equal."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import GOLDEN

from edgepipe import digest
from edgepipe.digest import canonical, digest_bytes, digest_file, digest_value

PINNED = json.loads((GOLDEN / "digests" / "pinned.json").read_text(encoding="utf-8"))

NASTY: dict[str, Any] = {
    "nothing": None,
    "empty text": "",
    "empty list": [],
    "empty mapping": {},
    "false": False,
    "zero": 0,
    "zero as a float": 0.0,
    "negative zero": -0.0,
    "one": 1,
    "true": True,
    "text of one": "1",
    "large": 2**70,
    "tiny": 5e-324,
    "third": 1 / 3,
    "unicode": "é",
    "unicode decomposed": "e\u0301",
    "not ASCII key": {"é": 1, "e": 2},
    "controls": "\x00\x1f\u2028\x7f",
    "surrogate": "\udc80",
    "quotes": '"\\"',
    "order": {"b": 1, "a": {"d": [1, {"z": None}], "c": 2}},
    "nested": [[], [[]], [[], []]],
    "tuple": (1, 2),
}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """A form in which 1, 1.0, True and -0.0 differ, and lists and tuples do not."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    return type(value).__name__, repr(value)


@pytest.mark.parametrize("name", NASTY)
def test_values_have_the_pinned_digests(name: str) -> None:
    assert digest_value("test", NASTY[name]) == PINNED["values"][name]


def test_equal_digests_among_the_nasty_values_are_equal_values() -> None:
    found: dict[str, Any] = {}
    for value in NASTY.values():
        other = found.setdefault(digest_value("test", value), value)
        assert exact(other) == exact(value)


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_digests_are_equal_if_and_only_if_the_values_are(one: Any, other: Any) -> None:
    same = exact(one) == exact(other)
    assert (digest_value("v", one) == digest_value("v", other)) is same


@settings(max_examples=100, deadline=None)
@given(values)
def test_canonical_bytes_are_json_and_do_not_depend_on_order(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(inner) for key, inner in reversed(item.items())}
        return [turned(inner) for inner in item] if isinstance(item, list) else item

    body = canonical(value)
    assert json.loads(body.decode("utf-8", "surrogatepass")) == value
    assert canonical(turned(value)) == body


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=6), st.binary(max_size=6), st.text(max_size=6), st.binary(max_size=6))
def test_a_tag_and_its_data_never_run_together(
    tag: str, data: bytes, other_tag: str, other: bytes
) -> None:
    same = (tag, data) == (other_tag, other)
    assert (digest_bytes(tag, data) == digest_bytes(other_tag, other)) is same


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_lists_of_texts_never_run_together(one: list[str], other: list[str]) -> None:
    assert (digest_value("l", one) == digest_value("l", other)) is (one == other)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1, {"a": math.nan}]])
def test_numbers_that_are_not_finite_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not finite"):
        canonical(value)


@pytest.mark.parametrize("value", [{1: 2}, {"a": {None: 1}}, b"x", {1, 2}, Path("x"), object])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


@pytest.mark.parametrize("name", ["empty", "short", "large"])
def test_files_have_the_pinned_digests(name: str, tmp_path: Path) -> None:
    sizes = {"empty": 0, "short": 10, "large": digest.LARGE + 3}
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (sizes[name] // 256) + b"x" * (sizes[name] % 256))
    found = digest_file(path)
    assert found == PINNED["files"][name]
    # The same however it is read.
    assert found == digest_bytes("file", path.read_bytes())


def test_a_file_is_no_value(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(canonical({"a": 1}))
    assert digest_file(path) != digest_value("key", {"a": 1})
    assert digest_file(path) == digest_value("file", {"a": 1})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_file(tmp_path / "absent")
