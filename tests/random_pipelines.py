"""Random pipelines of cheap stages, and what each of their nodes makes, told without edgepipe.

`Pipeline.points` is the oracle: a node's outputs by plain arithmetic, and what its key is made of.
"""

from __future__ import annotations

import itertools
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from random import Random
from typing import Any

from random_stages import KINDS, MIXING, stage_text

LARGEST = 14
"""Nodes of a pipeline at most."""


@dataclass
class Ref:
    """What feeds an input: an entry's output; of some axes, the place of the value that is meant."""

    entry: str
    port: str
    picks: dict[str, int] = field(default_factory=dict)


@dataclass
class Entry:
    """An entry of ``stages``."""

    kind: str
    salt: int | str
    """A number, or the name of a variable."""
    axis: str
    values: list[int] = field(default_factory=list)
    """Of its own axis, which then is its salt."""
    inputs: dict[str, Ref] = field(default_factory=dict)
    seed: int | None = None
    data: str = ""
    included: bool = False
    """It stands in the included file."""


Ingredients = tuple[Any, ...]
"""What a node's key is made of: two nodes have one key if, and only if, these are the same."""


@dataclass(frozen=True)
class Point:
    """A node, and what it makes."""

    axes: Mapping[str, int]
    sources: tuple[str, ...]
    """The nodes that it reads."""
    ingredients: Ingredients | None
    """None where what it reads is not made."""
    values: Mapping[str, int] | None
    """Output port → value; None where it fails or does not run."""


@dataclass
class Pipeline:
    """A project with one pipeline."""

    entries: dict[str, Entry]
    variables: dict[str, int]
    data: dict[str, dict[str, str]]
    """Name below ``data/`` → name of a file in it → text; a file alone is called ``.``."""
    constants: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(["START", *map(str.upper, KINDS)], 1)
    )
    calc: int = 1
    """A constant in the user's code."""
    comments: dict[str, int] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        """Write what is not there yet; what has not changed is not touched."""
        for name, text in self._files().items():
            path = root / name
            if self.written.get(name) != text or not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        for name in self.written.keys() - self._files().keys():
            (root / name).unlink(missing_ok=True)
        self.written = self._files()

    def _files(self) -> dict[str, str]:
        files = {f"plugins/{name}.py": stage_text(name, kind) for name, kind in KINDS.items()}
        files["plugins/_mixing.py"] = MIXING
        lines = "\n".join(f"{name} = {value}" for name, value in self.constants.items())
        files["plugins/_constants.py"] = f"{lines}\n"
        files["calc.py"] = f"NUMBER = {self.calc}\n\n\ndef make():\n    return NUMBER\n"
        files["p.yaml"] = self._yaml(False)
        files["shared/base.yaml"] = self._yaml(True)
        for name, number in self.comments.items():
            files[name] += f"# {number}\n"
        for name, texts in self.data.items():
            files |= {os.path.normpath(f"data/{name}/{file}"): t for file, t in texts.items()}
        return files

    def _yaml(self, included: bool) -> str:
        head = "edgepipe: 1\n" + ("" if included else "name: p\ninclude: shared/base.yaml\n")
        if included:
            head += f"vars: {json.dumps(self.variables)}\n"
        families = self._families({})
        lines = [
            f"  {name}: {json.dumps(self._entry(entry, families))}\n"
            for name, entry in self.entries.items()
            if entry.included is included
        ]
        return head + ("stages:\n" + "".join(lines) if lines else "")

    def _entry(self, entry: Entry, families: Mapping[str, Mapping[str, Point]]) -> dict[str, Any]:
        up = "../" if entry.included else ""
        given: dict[str, Any] = {"salt": entry.salt}
        if isinstance(entry.salt, str):
            given["salt"] = f"${{{entry.salt}}}"
        if entry.values:
            given["salt"] = f"${{matrix.{entry.axis}}}"
        if entry.kind == "source":
            given["path"] = f"{up}data/{entry.data}"
        if entry.kind == "coded":
            given["code"] = f"{up}calc.py:make"
        written: dict[str, Any] = {"uses": entry.kind, "with": given}
        if entry.inputs:
            written["in"] = {p: _reference(r, families[r.entry]) for p, r in entry.inputs.items()}
        if entry.values:
            written["matrix"] = {entry.axis: entry.values}
        if entry.seed is not None:
            written["seed"] = entry.seed
        return written

    def points(self, overrides: Mapping[str, int] = {}) -> dict[str, Point]:
        """All nodes by name, each after what it reads.

        Args:
            overrides: what ``--set`` says: ``vars.NAME`` or ``ENTRY.with.salt`` → value.
        """
        families = self._families(overrides)
        return {name: point for points in families.values() for name, point in points.items()}

    def _families(self, overrides: Mapping[str, int]) -> dict[str, dict[str, Point]]:
        families: dict[str, dict[str, Point]] = {}
        for name in self.in_order():
            families[name] = dict(self._members(name, families, overrides))
        return families

    def in_order(self) -> list[str]:
        """Entries, each after what it reads."""
        reads = {n: [r.entry for r in e.inputs.values()] for n, e in self.entries.items()}
        return list(TopologicalSorter(reads).static_order())

    def _members(
        self, name: str, families: Mapping[str, dict[str, Point]], overrides: Mapping[str, int]
    ) -> Iterator[tuple[str, Point]]:
        entry = self.entries[name]
        chosen = {port: picked(ref, families[ref.entry]) for port, ref in entry.inputs.items()}
        axes: dict[str, list[int]] = {}
        for open_axes in chosen.values():
            for point_axes in open_axes.values():
                for axis, value in point_axes.items():
                    axes[axis] = list(dict.fromkeys([*axes.get(axis, []), value]))
        axes |= {entry.axis: entry.values} if entry.values else {}
        for combination in itertools.product(*axes.values()):
            at = dict(zip(axes, combination, strict=True))
            index = f"[{','.join(map(str, at.values()))}]" if at else ""
            feeds = {
                port: next(n for n, open_axes in ones.items() if open_axes.items() <= at.items())
                for port, ones in chosen.items()
            }
            points = {port: families[entry.inputs[port].entry][n] for port, n in feeds.items()}
            salt = at[entry.axis] if entry.values else self._salt(name, entry, overrides)
            sources = tuple(feeds.values())
            given = [_value(points.get(p), entry.inputs.get(p)) for p in KINDS[entry.kind].ports]
            if any(point.values is None for point in points.values()):
                yield f"{name}{index}", Point(at, sources, None, None)
            else:
                yield f"{name}{index}", self._made(entry, at, sources, salt, given)

    def _salt(self, name: str, entry: Entry, overrides: Mapping[str, int]) -> int:
        salt = overrides.get(f"{name}.with.salt", entry.salt)
        return (
            overrides.get(f"vars.{salt}", self.variables[salt]) if isinstance(salt, str) else salt
        )

    def _made(
        self,
        entry: Entry,
        at: Mapping[str, int],
        sources: tuple[str, ...],
        salt: int,
        given: list[int | None],
    ) -> Point:
        kind, start = KINDS[entry.kind], self.constants["START"]
        constant = self.constants[entry.kind.upper()]
        more: list[Any] = []
        if entry.kind == "source":
            more = [part for item in sorted(self.data[entry.data].items()) for part in item]
        elif entry.kind == "drawn":
            more = [entry.seed or 0]
        elif entry.kind == "slow":
            more = [sum(mixed(start, step, given) for step in range(3))]
        elif entry.kind == "coded":
            more = [self.calc]
        ingredients = (entry.kind, start, constant, salt, *given, *more)
        if entry.kind == "moody" and salt == 3:
            return Point(at, sources, ingredients, None)
        parts = (start, constant, salt)
        values = {p: mixed(*parts, p, *given, *more) % kind.modulus for p in kind.outputs}
        return Point(at, sources, ingredients, values)


def mixed(*parts: object) -> int:
    return zlib.crc32("/".join(map(str, parts)).encode())


def picked(ref: Ref, members: Mapping[str, Point]) -> dict[str, dict[str, int]]:
    """The nodes that a reference means, each with its values on the axes that stay open."""
    wanted = {axis: values[place % len(values)] for axis, place, values in _picks(ref, members)}
    return {
        name: {axis: value for axis, value in point.axes.items() if axis not in wanted}
        for name, point in members.items()
        if wanted.items() <= point.axes.items()
    }


def _picks(ref: Ref, members: Mapping[str, Point]) -> Iterator[tuple[str, int, list[int]]]:
    for axis, place in ref.picks.items():
        values = list(dict.fromkeys(p.axes[axis] for p in members.values() if axis in p.axes))
        if values:
            yield axis, place, values


def _reference(ref: Ref, members: Mapping[str, Point]) -> str:
    index = ",".join(f"{axis}={v[place % len(v)]}" for axis, place, v in _picks(ref, members))
    return f"{ref.entry}{f'[{index}]' if index else ''}.{ref.port}"


def _value(point: Point | None, ref: Ref | None) -> int | None:
    return None if point is None or ref is None or point.values is None else point.values[ref.port]


def random_entry(pipeline: Pipeline, rng: Random, before: list[str], number: int) -> Entry:
    """An entry that reads some of those ``before``."""
    names = [n for n, k in KINDS.items() if before or not k.inputs or k.inputs[0][-1] == "?"]
    kind = KINDS[name := rng.choice(names)]
    entry = Entry(name, rng.choice([*range(4), *pipeline.variables]), f"x{number}")
    for port in kind.inputs:
        if before and (port[-1] != "?" or rng.random() < 0.6):
            entry.inputs[port.rstrip("?")] = random_ref(pipeline, rng, before)
    if rng.random() < 0.25:
        entry.values = rng.sample(range(5), 2)
    entry.seed = rng.choice([None, 1, 2])
    entry.data = rng.choice(list(pipeline.data))
    entry.included = rng.random() < 0.3
    return entry


def random_ref(pipeline: Pipeline, rng: Random, before: list[str]) -> Ref:
    name = rng.choice(before)
    picks = {axis: rng.randrange(3) for axis in _axes(pipeline, name) if rng.random() < 0.4}
    return Ref(name, rng.choice(KINDS[pipeline.entries[name].kind].outputs), picks)


def _axes(pipeline: Pipeline, name: str) -> list[str]:
    return [e.axis for e in pipeline.entries.values() if e.values]


def random_pipeline(rng: Random, size: int) -> Pipeline:
    data = {"one": {".": "1"}, "two": {".": "2"}, "many": {"a": "1", "in/b": "2"}}
    pipeline = Pipeline({}, {"k0": 0, "k1": 1}, data)
    for number in range(size):
        before = list(pipeline.entries)
        pipeline.entries[f"n{number}"] = random_entry(pipeline, rng, before, number)
        if len(pipeline.points()) > LARGEST:
            pipeline.entries[f"n{number}"].inputs.clear()
            pipeline.entries[f"n{number}"] = Entry("drawn", number, f"x{number}")
    return pipeline
