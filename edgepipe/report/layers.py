"""Lays out a directed graph in layers, top to bottom (Sugiyama, Tagawa & Toda, 1981).

Edges that skip layers run through slots of their own, so that no edge crosses a box; all such
edges of one node share one trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Slot = tuple[str, int]
"""A place in a layer: a box (its name, -1), or the trunk of a box in one layer (name, layer)."""

GAP = 18.0
"""Space between two boxes of a layer."""
DROP = 46.0
"""Space between two layers."""
TRUNK = 6.0
SWEEPS = 12


@dataclass(frozen=True)
class Drawing:
    """Places of the boxes (left, top), the edges' paths by their source, and the whole size."""

    boxes: Mapping[str, tuple[float, float]]
    edges: Mapping[str, str]
    """SVG path data of all edges that leave a box."""
    width: float
    height: float


def draw(
    sizes: Mapping[str, tuple[float, float]],
    edges: Iterable[tuple[str, str]],
    per_layer: int = 5,
) -> Drawing:
    """Place boxes and route edges.

    Args:
        sizes: width and height of each box, in the order in which ties are broken.
        edges: from, to; those that close a cycle are drawn upwards.
        per_layer: how many boxes a layer may hold before the next one is begun.
    """
    pairs = sorted({(a, b) for a, b in edges if a != b and a in sizes and b in sizes})
    layer = _assign(list(sizes), pairs, per_layer)
    rows, links = _slots(layer, pairs)
    _order(rows, links)
    extent = {slot: sizes[slot[0]][0] if slot[1] < 0 else TRUNK for row in rows for slot in row}
    center = _place(rows, links, extent)
    tops, bottoms = _levels(rows, sizes)
    boxes = {
        name: (center[name, -1] - size[0] / 2, tops[layer[name]]) for name, size in sizes.items()
    }
    paths = _route(links, layer, center, sizes, tops, bottoms)
    width = max((boxes[name][0] + sizes[name][0] for name in sizes), default=0.0)
    width = max([width, *(x + TRUNK for x in center.values())])
    return Drawing(boxes, paths, width, bottoms[-1] if bottoms else 0.0)


def _assign(names: list[str], pairs: list[tuple[str, str]], per_layer: int) -> dict[str, int]:
    """Layers below all that a box depends on, each of at most ``per_layer`` boxes."""
    needs: dict[str, set[str]] = {name: set() for name in names}
    users: dict[str, list[str]] = {name: [] for name in names}
    for a, b in pairs:
        if a not in needs[b]:
            needs[b].add(a)
            users[a].append(b)
    order = {name: number for number, name in enumerate(names)}
    missing = {name: len(before) for name, before in needs.items()}
    waiting = dict.fromkeys(names)
    ready = [name for name in names if not missing[name]]
    layer: dict[str, int] = {}
    count: dict[int, int] = {}
    while waiting:
        # A cycle of families is cut at its first.
        ready = ready or [next(iter(waiting))]
        freed = []
        for name in ready:
            lowest = max((layer[n] + 1 for n in needs[name] if n in layer), default=0)
            while count.get(lowest, 0) >= per_layer:
                lowest += 1
            layer[name] = lowest
            count[lowest] = count.get(lowest, 0) + 1
            del waiting[name]
            for user in users[name]:
                missing[user] -= 1
                if not missing[user]:
                    freed.append(user)
        ready = sorted((name for name in freed if name in waiting), key=order.__getitem__)
    used = {old: new for new, old in enumerate(sorted(set(layer.values())))}
    return {name: used[level] for name, level in layer.items()}


def _slots(
    layer: Mapping[str, int], pairs: Sequence[tuple[str, str]]
) -> tuple[list[list[Slot]], list[tuple[Slot, Slot]]]:
    """Boxes and trunks of each layer, and the links between neighbouring layers."""
    rows: list[list[Slot]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name, level in layer.items():
        rows[level].append((name, -1))
    links: dict[tuple[Slot, Slot], None] = {}
    trunks: set[Slot] = set()
    for a, b in pairs:
        here: Slot = (a, -1)
        for level in range(layer[a] + 1, layer[b]):
            trunk: Slot = (a, level)
            if trunk not in trunks:
                trunks.add(trunk)
                rows[level].append(trunk)
            links[here, trunk] = None
            here = trunk
        if layer[a] < layer[b]:
            links[here, (b, -1)] = None
    return rows, list(links)


def _order(rows: list[list[Slot]], links: list[tuple[Slot, Slot]]) -> None:
    """Reorder each row so that few links cross: barycenters, down and up, the best one kept."""
    above, below = _neighbors(links)
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for i in range(len(rows)) if down else reversed(range(len(rows))):
            beside = rows[i - 1] if down else rows[(i + 1) % len(rows)]
            place = {slot: float(k) for k, slot in enumerate(beside)}
            rows[i].sort(key=_barycenter(rows[i], near, place))
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _barycenter(
    row: list[Slot], near: Mapping[Slot, list[Slot]], place: Mapping[Slot, float]
) -> Callable[[Slot], float]:
    index = {slot: float(k) for k, slot in enumerate(row)}

    def key(slot: Slot) -> float:
        places = [place[n] for n in near.get(slot, ()) if n in place]
        return sum(places) / len(places) if places else index[slot]

    return key


def _neighbors(
    links: list[tuple[Slot, Slot]],
) -> tuple[dict[Slot, list[Slot]], dict[Slot, list[Slot]]]:
    above: dict[Slot, list[Slot]] = {}
    below: dict[Slot, list[Slot]] = {}
    for a, b in links:
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    return above, below


def _crossings(rows: list[list[Slot]], below: Mapping[Slot, list[Slot]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {slot: k for k, slot in enumerate(lower)}
        ends = [sorted(place[b] for b in below.get(a, ()) if b in place) for a in upper]
        flat = [end for group in ends for end in group]
        total += sum(a > b for i, a in enumerate(flat) for b in flat[i + 1 :])
    return total


def _place(
    rows: list[list[Slot]], links: list[tuple[Slot, Slot]], extent: Mapping[Slot, float]
) -> dict[Slot, float]:
    """Centers: each slot as near to its neighbours' mean as the order in its row allows."""
    above, below = _neighbors(links)
    center: dict[Slot, float] = {}
    room = max((sum(extent[slot] + GAP for slot in row) for row in rows), default=0.0) - GAP
    for row in rows:
        _settle(row, dict.fromkeys(row, room / 2), extent, room, center)
    for sweep in range(SWEEPS):
        near = above if sweep % 2 == 0 else below
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wish = {}
            for slot in row:
                beside = [center[n] for n in near.get(slot, ())]
                wish[slot] = sum(beside) / len(beside) if beside else center[slot]
            _settle(row, wish, extent, room, center)
    left = min((center[slot] - extent[slot] / 2 for slot in center), default=0.0)
    return {slot: x - left for slot, x in center.items()}


def _settle(
    row: list[Slot],
    wish: Mapping[Slot, float],
    extent: Mapping[Slot, float],
    room: float,
    center: dict[Slot, float],
) -> None:
    """Least-squares places within 0 … ``room`` that keep order and distances.

    By pooling adjacent violators (Barlow et al., 1972); clamping what it gives to the bounds
    leaves it optimal.
    """
    offset = 0.0
    offsets: list[float] = []
    pools: list[tuple[float, int]] = []
    for i, slot in enumerate(row):
        if i:
            offset += (extent[row[i - 1]] + extent[slot]) / 2 + GAP
        offsets.append(offset)
        pools.append((wish[slot] - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, m), (b, n) = pools[-2:]
            pools[-2:] = [((a * m + b * n) / (m + n), m + n)]
    low, high = extent[row[0]] / 2, room - offset - extent[row[-1]] / 2
    bases = [min(max(base, low), high) for base, n in pools for _ in range(n)]
    center.update((slot, base + off) for slot, base, off in zip(row, bases, offsets, strict=True))


def _levels(
    rows: list[list[Slot]], sizes: Mapping[str, tuple[float, float]]
) -> tuple[list[float], list[float]]:
    tops, bottoms, y = [], [], 0.0
    for row in rows:
        tops.append(y)
        bottoms.append(y + max((sizes[name][1] for name, level in row if level < 0), default=0.0))
        y = bottoms[-1] + DROP
    return tops, bottoms


def _route(
    links: list[tuple[Slot, Slot]],
    layer: Mapping[str, int],
    center: Mapping[Slot, float],
    sizes: Mapping[str, tuple[float, float]],
    tops: list[float],
    bottoms: list[float],
) -> dict[str, str]:
    paths: dict[str, list[str]] = {}
    entry = _entries(links, center, sizes)
    for a, b in links:
        level = layer[a[0]] if a[1] < 0 else a[1]
        x0, x1 = center[a], entry[a, b]
        start = tops[level] + sizes[a[0]][1] if a[1] < 0 else tops[level]
        y0, y1 = bottoms[level], tops[level + 1]
        bend = (y1 - y0) * 0.55
        paths.setdefault(a[0], []).append(
            f"M{x0:.1f} {start:.1f}V{y0:.1f}"
            f"C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}"
        )
    return {name: "".join(parts) for name, parts in paths.items()}


def _entries(
    links: list[tuple[Slot, Slot]],
    center: Mapping[Slot, float],
    sizes: Mapping[str, tuple[float, float]],
) -> dict[tuple[Slot, Slot], float]:
    """Where each link ends: links into one box spread over its top, in the order they come from."""
    above, _ = _neighbors(links)
    ends = {}
    for b, sources in above.items():
        spread = min(16.0, sizes[b[0]][0] * 0.7 / len(sources)) if b[1] < 0 else 0.0
        for k, a in enumerate(sorted(sources, key=lambda slot: center[slot])):
            ends[a, b] = center[b] + (k - (len(sources) - 1) / 2) * spread
    return ends
