"""A project with a random pipeline, its cache and a remote; what must be in them, and must run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forked import Ended, shared
from random_pipelines import Ingredients, Pipeline, Point
from storing import broken_records, wrong_names

from edgepipe.remote.transport import RejectedError
from edgepipe.remote.wire import decode_record
from edgepipe.store import Record
from edgepipe.store.model import unpack_record, unpack_tree


@dataclass
class Run:
    """A run that was begun, and what it may hold in the cache."""

    id: str
    """Empty where a kill left no result."""
    keys: list[tuple[str, str]]
    """Node → key of those that were made or found."""
    holds: bool = True
    """The project stands where it stood then."""


@dataclass
class There:
    """What a store held before a run."""

    whole: set[Ingredients]
    partly: set[Ingredients]
    """There is a record, and not all that it names: what runs may make that again."""


@dataclass
class World:
    """The folders, and the model of what they hold."""

    pipeline: Pipeline
    base: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="edgepipe-random-")))
    keys: dict[Ingredients, str] = field(default_factory=dict)
    sure: dict[Path, set[Ingredients]] = field(default_factory=dict)
    """What must be in a store, since nothing took it away."""
    maybe: set[Ingredients] = field(default_factory=set)
    """What a killed run may have made, whose key is not known."""
    runs: list[Run] = field(default_factory=list)
    hurt: bool = False
    """Something was damaged."""
    there: dict[Path, There] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root, self.cache, self.shared = (self.base / n for n in ("p", "cache", "shared"))
        self.trace = self.base / "trace"
        self.sure = {self.cache: set(), self.shared: set()}
        self.root.mkdir()
        (self.root / "edgepipe.toml").touch()
        self.pipeline.write(self.root)

    def start(
        self,
        *arguments: object,
        remote: bool = False,
        cwd: Path | None = None,
        cache: Path | None = None,
    ) -> int:
        """Start a command; its process id."""
        self.trace.write_text("")
        self.there = {store: self._held_by(store) for store in self.sure}
        env = {"EDGEPIPE_CACHE": str(cache or self.cache), "TRACE": str(self.trace)}
        if remote:
            env["EDGEPIPE_REMOTE"] = str(self.shared)
            self.shared.mkdir(exist_ok=True)
        return shared().start(*arguments, cwd=cwd or self.root, env={**os.environ, **env})

    def command(self, *arguments: object, **options: Any) -> Ended:
        self.start(*arguments, **options)
        return shared().end()

    def run(
        self,
        *options: object,
        overrides: Mapping[str, int] | None = None,
        until: str = "",
        fresh: str = "",
        remote: bool = False,
    ) -> None:
        """Run the pipeline, and see that all that came of it is right."""
        points = self.pipeline.points(overrides or {})
        if until:
            points = _only(points, until)
        done = self.command("run", "p.yaml", "--json", *options, remote=remote)
        result = self.judge(done, points, self.cache, remote=remote, fresh=fresh)
        keys = [(node["name"], node["key"]) for node in result["nodes"] if node["key"]]
        if any(run.id == result["id"] for run in self.runs):
            # Nothing was to do: it is the last run that is shown.
            last = next(run for run in reversed(self.runs) if run.id)
            assert last.id == result["id"]
            self.runs.remove(last)
        self.runs.append(Run(result["id"], keys))

    def run_apart(self, name: str, *, remote: bool = False) -> None:
        """The same project somewhere else, with an empty cache."""
        root, cache = self.base / name, self.base / f"{name}-cache"
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns(".edgepipe"))
        self.sure[cache] = set()
        done = self.command("run", "p.yaml", "--json", remote=remote, cwd=root, cache=cache)
        self.judge(done, self.pipeline.points(), cache, remote=remote)
        del self.sure[cache]
        shutil.rmtree(root)
        shutil.rmtree(cache)

    def judge(
        self,
        done: Ended,
        points: Mapping[str, Point],
        cache: Path,
        *,
        remote: bool = False,
        fresh: str = "",
    ) -> Any:
        """What came of a run is right, and so is what ran for it."""
        fails = any(point.values is None for point in points.values())
        assert done.code == int(fails), done.out + done.err
        result = done.json
        assert {node["name"] for node in result["nodes"]} == set(points)
        ran = self.started()
        self._right_ones_ran(ran, points, [cache, self.shared] if remote else [cache], fresh)
        for node in result["nodes"]:
            point = points[node["name"]]
            if point.values is None:
                assert node["status"] == ("failed" if point.ingredients else "skipped")
                continue
            assert node["status"] == ("ran" if node["name"] in ran else "cached")
            assert set(node["outputs"]) == set(point.values)
            for port, value in point.values.items():
                files = {"value": str(value), "deep/parity": str(value % 2)}
                assert _content(cache, node["outputs"][port]["digest"]) == files
            assert point.ingredients is not None
            assert self.keys.setdefault(point.ingredients, node["key"]) == node["key"]
            self.sure[cache].add(point.ingredients)
            # Of what is damaged there, nobody knows who has not looked for it.
            if remote and node["name"] in ran and not self.hurt:
                self.sure[self.shared].add(point.ingredients)
        assert len(set(self.keys.values())) == len(self.keys)
        self.maybe -= self.keys.keys()
        self.check()
        return result

    def started(self) -> list[str]:
        """The nodes that ran, or began to."""
        lines = self.trace.read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith("start")]

    def _right_ones_ran(
        self, ran: list[str], points: Mapping[str, Point], stores: list[Path], fresh: str
    ) -> None:
        """All that is in no store, once for each key, and nothing else."""
        started = [points[name].ingredients for name in ran]
        there = [self.there[store] for store in stores]
        for ingredients in {point.ingredients for point in points.values() if point.ingredients}:
            same = [name for name, point in points.items() if point.ingredients == ingredients]
            asked = sum(name.partition("[")[0] == fresh for name in same)
            times = started.count(ingredients)
            if points[same[0]].values is None:
                assert times == len(same), f"{same} fail, each by itself"
            elif asked:
                assert times == asked, f"{same} were asked for"
            elif any(ingredients in store.whole for store in there):
                assert times == 0, f"{same} ran without need"
            elif ingredients in self.maybe or any(ingredients in s.partly for s in there):
                assert times <= 1, f"{same} ran {times} times"
            else:
                assert times == 1, f"{same} ran {times} times and are not in the cache"

    def after_kill(self) -> None:
        """Whatever was read by what began was finished before, and is kept."""
        points = self.pipeline.points()
        for name in self.started():
            made = points[name].ingredients
            assert made is not None
            if made not in self.keys:
                self.maybe.add(made)
            read = {points[source].ingredients for source in points[name].sources}
            self.sure[self.cache] |= {found for found in read if found and found in self.keys}
        found = sorted(path.parent.name for path in self.root.glob(".edgepipe/runs/*/run.json"))
        new = [name for name in found if name not in {run.id for run in self.runs}]
        keys = [(name, self.keys.get(p.ingredients or (), "")) for name, p in points.items()]
        self.runs.append(Run(new[0] if new else "", keys))
        self.check()

    def held(self, keep: int) -> tuple[set[Ingredients], set[Ingredients]]:
        """What gc keeps for sure, and what it may keep."""
        known = {key: ingredients for ingredients, key in self.keys.items()}
        held: set[Ingredients] = set()
        allowed = set(self.maybe)
        sure = 0
        for newer, run in enumerate(reversed(self.runs)):
            ingredients = {known[key] for _, key in run.keys if key in known}
            is_sure = bool(run.holds and run.id)
            if is_sure and newer < keep:
                held |= ingredients
            if sure < keep:
                allowed |= ingredients
            else:
                run.holds = False
            sure += is_sure
        return held, allowed

    def check(self) -> None:
        """Nothing is missing that nothing took away; a record never names what is not there."""
        for store, sure in self.sure.items():
            missing = sure - self._held_by(store).whole
            assert not missing, f"{store.name} has lost {missing}"
        if not self.hurt:
            assert wrong_names(self.cache) == []
            assert broken_records(self.cache) == []

    def took_away(self, store: Path) -> None:
        """Something was damaged: what is whole no longer need not be there."""
        self.hurt = True
        self.sure[store] &= self._held_by(store).whole

    def _held_by(self, store: Path) -> There:
        wrong, found = set(wrong_names(store)), There(set(), set())
        for ingredients, key in self.keys.items():
            record = _record(store, key)
            if record is not None:
                (found.whole if _whole(store, record, wrong) else found.partly).add(ingredients)
        return found


def _object(store: Path, digest: str) -> Path:
    return store / "objects" / digest[:2] / digest[2:]


def _record(store: Path, key: str) -> Record | None:
    """A key's record, in the form of a store or of a remote; None without one that is right."""
    path = store / "records" / key[:2] / key[2:]
    with suppress(OSError, ValueError, RejectedError):
        body = path.read_bytes()
        record = decode_record(body, key, None) if store.name == "shared" else unpack_record(body)
        return record if record is not None and record.key == key else None
    return None


def _whole(store: Path, record: Record, wrong: Iterable[str]) -> bool:
    """Whether all that a record names is there, with the right bytes."""
    # What explains a key travels with its result; in a cache it can be missed.
    needs = set(record.manifests.values()) if store.name == "shared" else set()
    for output in record.outputs.values():
        tree = _object(store, output.tree)
        if output.tree in wrong or not tree.exists():
            return False
        needs |= {file.digest for file in unpack_tree(tree.read_bytes())}
    return needs.isdisjoint(wrong) and all(_object(store, digest).exists() for digest in needs)


def _content(cache: Path, tree: str) -> dict[str, str]:
    """What an output holds, read without the store."""
    listed = json.loads(_object(cache, tree).read_bytes())
    return {item["path"]: _object(cache, item["digest"]).read_text() for item in listed}


def _only(points: Mapping[str, Point], name: str) -> dict[str, Point]:
    """The nodes of an entry and what they need."""
    wanted = {n for n in points if n.partition("[")[0] == name}
    for node in reversed(points):
        if node in wanted:
            wanted.update(points[node].sources)
    return {n: point for n, point in points.items() if n in wanted}
