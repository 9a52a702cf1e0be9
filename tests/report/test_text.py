from __future__ import annotations

import io

import pytest

from edgepipe.report.text import can_show, clean, pad, shorten, to_ascii, width, wrap


def test_control_characters_become_visible() -> None:
    assert clean("a\x1b[31mb\u202ec\x00\ud800\x07") == "a\\x1b[31mb\\u202ec\\x00\\ud800\\x07"
    assert clean("tab\tline\nend") == "tab line end"
    assert clean("line\nend\r", lines=True) == "line\nend\\r"
    assert clean("größer ✓ 図") == "größer ✓ 図"


def test_ascii_spells_what_the_reports_use_and_escapes_the_rest() -> None:
    assert to_ascii("✓ −3 µs × 2 … ★") == "ok -3 us x 2 ... *"
    assert to_ascii("図") == "\\u56f3"


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("図a", 3), ("e\u0301", 1), ("✓", 1), ("", 0)]
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def test_shorten_keeps_both_ends() -> None:
    assert shorten("tflite[float16]", 15) == "tflite[float16]"
    assert shorten("bench_onnx_student", 11) == "bench…udent"
    assert shorten("bench_onnx_student", 11, "...") == "benc...dent"
    assert width(shorten("図図図図図図", 7)) <= 7
    assert shorten("abc", 0) == ""


def test_pad_counts_columns() -> None:
    assert pad("図", 4, right=True) == "  図"
    assert pad("a", 3, right=False) == "a  "
    assert pad("abcd", 3, right=False) == "abcd"


def test_wrap_breaks_between_items_only() -> None:
    assert wrap(["one two", "three", "four"], 0, 15) == ["one two, three,", "four"]
    assert wrap(["one", "two"], 8, 12) == ["one,", "two"]
    assert wrap(["a", "b"], 0, 2, " · ") == ["a", "b"]
    assert wrap([], 0, 10) == []
    assert wrap(["longer than the line"], 0, 3) == ["longer than the line"]


def test_can_show() -> None:
    assert can_show(io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert not can_show(io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert can_show(io.StringIO()), "a stream without an encoding holds anything"
