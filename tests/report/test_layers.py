from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepipe.report.layers import DROP, GAP, Drawing, draw

SIZE = (100.0, 40.0)


def drawing(edges: list[tuple[str, str]], names: str = "", **options: int) -> Drawing:
    found = sorted({n for edge in edges for n in edge} | set(names))
    return draw(dict.fromkeys(found, SIZE), edges, **options)


def level(result: Drawing, name: str) -> int:
    return round(result.boxes[name][1] / (SIZE[1] + DROP))


def test_a_chain_goes_straight_down() -> None:
    result = drawing([("a", "b"), ("b", "c")])
    assert [level(result, n) for n in "abc"] == [0, 1, 2]
    assert len({result.boxes[n][0] for n in "abc"}) == 1
    assert (result.width, result.height) == (100.0, 3 * 40.0 + 2 * DROP)


def test_parents_stand_over_the_middle_of_their_children() -> None:
    result = drawing([("a", "b"), ("a", "c"), ("a", "d")])
    xs = sorted(result.boxes[n][0] for n in "bcd")
    assert xs[1] - xs[0] == xs[2] - xs[1] == SIZE[0] + GAP
    assert result.boxes["a"][0] == pytest.approx(xs[1])


def test_order_avoids_crossings() -> None:
    result = drawing([("a", "y"), ("b", "x"), ("r", "a"), ("r", "b")])
    a_left = result.boxes["a"][0] < result.boxes["b"][0]
    assert a_left == (result.boxes["y"][0] < result.boxes["x"][0])


def test_long_edges_of_a_box_share_a_trunk_that_misses_the_boxes_between() -> None:
    result = drawing([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("a", "c")])
    segments = re.findall(
        r"M([\d.]+) [\d.]+V([\d.]+)C[\d. ]+?([\d.]+) [\d.]+ ([\d.]+) ([\d.]+)(?=M|$)",
        result.edges["a"],
    )
    assert len(segments) == 5, "to b; to the trunk, down it, out of it to c and to d"
    x, y = result.boxes["b"]
    through = [float(s[0]) for s in segments if float(s[1]) > y + SIZE[1] - 1]
    assert through
    assert all(not x < place < x + SIZE[0] for place in through)


def test_a_layer_holds_no_more_than_it_may() -> None:
    edges = [("root", f"n{i:02d}") for i in range(13)]
    result = drawing(edges, per_layer=5)
    counts = [sum(level(result, n) == i for n in result.boxes) for i in range(4)]
    assert counts == [1, 5, 5, 3]


def test_a_cycle_is_drawn_too() -> None:
    result = drawing([("a", "b"), ("b", "a"), ("b", "c"), ("c", "c")])
    assert set(result.boxes) == {"a", "b", "c"}


def test_nothing() -> None:
    assert draw({}, []) == Drawing({}, {}, 0.0, 0.0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 24).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40
        ).map(lambda pairs: (n, [(str(min(p)), str(max(p))) for p in pairs]))
    ),
    st.integers(1, 6),
)
def test_boxes_never_overlap_and_edges_go_down(
    graph: tuple[int, list[tuple[str, str]]], per_layer: int
) -> None:
    n, edges = graph
    sizes = {str(i): (80.0 + i, 30.0 + 2 * i) for i in range(n)}
    result = draw(sizes, edges, per_layer)
    for a, (ax, ay) in result.boxes.items():
        assert -0.01 <= ax <= result.width - sizes[a][0] + 0.01
        assert 0 <= ay <= result.height - sizes[a][1] + 0.01
        for b, (bx, by) in result.boxes.items():
            apart = (
                ax + sizes[a][0] <= bx
                or bx + sizes[b][0] <= ax
                or ay + sizes[a][1] <= by
                or by + sizes[b][1] <= ay
            )
            assert a == b or apart
    for a, b in edges:
        assert a == b or result.boxes[a][1] + sizes[a][1] < result.boxes[b][1]
    assert set(result.edges) == {a for a, b in edges if a != b}


def test_sixty_boxes_take_milliseconds() -> None:
    edges = [
        (f"{i:02d}", f"{j:02d}") for i in range(60) for j in (i + 1, i + 3, i * 2) if i < j < 60
    ]
    start = time.process_time()
    drawing(edges)
    assert time.process_time() - start < 0.5, "usually 20 ms"
