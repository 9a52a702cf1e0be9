"""Any graph, any sequence of edits, kills, gc and pulls: each result is that of a clean run.

What a node makes is told by plain arithmetic (`random_pipelines`), and so is what its key is made
of; a node must run if, and only if, no result of the same is in the cache. Every command is a real
process, since kills, locks and gc are about processes; they are forked from one that has imported
the package, which is what makes hundreds of them affordable (`forked`).

EDGEPIPE_EXAMPLES=1000 searches longer, each time elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from forked import Ended, shared
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_edits import EDITS, edit
from random_pipelines import Ingredients, Point, random_pipeline
from storing import broken_records, flip, objects, records, wrong_names

from edgepipe.remote.transport import RejectedError
from edgepipe.remote.wire import decode_record
from edgepipe.store import Record
from edgepipe.store.model import unpack_record, unpack_tree

EXAMPLES = int(os.environ.get("EDGEPIPE_EXAMPLES", "0"))
seeds = st.integers(0, 2**32)


@dataclass
class Run:
    """A run that was begun, and what it may hold in the cache."""

    id: str
    """Empty where a kill left no result."""
    keys: list[tuple[str, str]]
    """Node → key of those that were made or found."""
    holds: bool = True
    """The project stands where it stood then."""


class Machine(RuleBasedStateMachine):
    """A project, its cache, a remote, and all that may befall them."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="edgepipe-random-"))
        self.forker = shared()
        self.root, self.cache, self.shared = (self.base / n for n in ("p0", "cache", "shared"))
        self.keys: dict[Ingredients, str] = {}
        self.sure: dict[Path, set[Ingredients]] = {self.cache: set(), self.shared: set()}
        """What must be in a store, since nothing took it away."""
        self.maybe: set[Ingredients] = set()
        """What a killed run may have made, whose key is not known."""
        self.runs: list[Run] = []
        self.count = 0
        self.hurt = False

    @initialize(seed=seeds, size=st.integers(2, 7))
    def begin(self, seed: int, size: int) -> None:
        self.root.mkdir()
        (self.root / "edgepipe.toml").touch()
        self.pipeline = random_pipeline(Random(seed), size)
        self.pipeline.write(self.root)
        self.earlier = [deepcopy(self.pipeline)]

    def teardown(self) -> None:
        try:
            if self.root.is_dir():
                self.clean_run()
        finally:
            shutil.rmtree(self.base)

    # What is done.

    @rule(edits=st.lists(st.tuples(st.sampled_from(list(EDITS)), seeds), max_size=3), seed=seeds)
    def edit_and_run(self, edits: list[tuple[str, int]], seed: int) -> None:
        for which, number in edits:
            self.pipeline = edit(self.pipeline, Random(number), self.root, which)
        self.earlier.append(deepcopy(self.pipeline))
        rng = Random(seed)
        self.run("--jobs", rng.choice([1, 2]), remote=rng.random() < 0.3)

    @rule(number=seeds, remote=st.booleans())
    def go_back(self, number: int, remote: bool) -> None:
        written = self.pipeline.written
        self.pipeline = deepcopy(self.earlier[number % len(self.earlier)])
        self.pipeline.written = written
        self.pipeline.write(self.root)
        self.run(remote=remote)

    @rule(seed=seeds)
    def run_otherwise(self, seed: int) -> None:
        rng = Random(seed)
        overrides = {f"vars.{rng.choice(list(self.pipeline.variables))}": rng.randrange(5)}
        name, entry = rng.choice(list(self.pipeline.entries.items()))
        if not entry.values:
            overrides[f"{name}.with.salt"] = rng.randrange(5)
        options = [part for at, value in overrides.items() for part in ("--set", f"{at}={value}")]
        if rng.random() < 0.3:
            self.run(*options, "--fresh", name, overrides=overrides, fresh=name)
        elif rng.random() < 0.5:
            self.run(*options, "--until", name, overrides=overrides, until=name)
        else:
            self.run(*options, overrides=overrides)

    @rule(edits=st.lists(st.tuples(st.sampled_from(list(EDITS)), seeds), max_size=3), seed=seeds)
    def kill_a_run(self, edits: list[tuple[str, int]], seed: int) -> None:
        for which, number in edits:
            self.pipeline = edit(self.pipeline, Random(number), self.root, which)
        rng = Random(seed)
        remote = rng.random() < 0.3
        pid = self.start("run", "p.yaml", "--jobs", 2, remote=remote)
        time.sleep(rng.random() * rng.choice([0.1, 0.5, 0.8]))
        self.forker.end(kill=pid)
        self.after_kill(self.pipeline.points())
        if rng.random() < 0.5:
            self.run(remote=rng.random() < 0.3)

    @rule(keep=st.integers(0, 3), size=st.sampled_from([None, None, 0, 2000, 10**6]), seed=seeds)
    def gc(self, keep: int, size: int | None, seed: int) -> None:
        rng = Random(seed)
        options = ["--max-size", f"{size} B"] if size is not None else []
        pid = self.start("cache", "gc", "--keep-runs", keep, *options)
        killed = rng.random() < 0.3
        if killed:
            time.sleep(rng.random() * 0.03)
        done = self.forker.end(kill=pid if killed else None)
        held, allowed = self.held(keep)
        self.sure[self.cache] &= held
        if not killed:
            assert done.code == 0, done.err
            if size in {None, 0}:
                there = {path.parent.name + path.name for path in records(self.cache)}
                known = {key: i for i, key in self.keys.items()}
                assert {known[key] for key in there if key in known} <= allowed
        self.check()

    @rule(number=seeds, how=st.sampled_from(["flip", "cut", "unlink"]), shared=st.booleans())
    def damage(self, number: int, how: str, shared: bool) -> None:
        store = self.shared if shared else self.cache
        there = [path for path in [*objects(store), *records(store)] if path.stat().st_size]
        if not there:
            return
        path = there[number % len(there)]
        if how == "flip":
            flip(path, number)
        elif how == "cut":
            os.truncate(path, number % path.stat().st_size)
        else:
            path.unlink()
        self.hurt = True
        self.sure[store] = {
            i for i in self.sure[store] if self.whole(store, self.keys[i], explained=True)
        }

    @rule()
    def repair(self) -> None:
        done = self.command("cache", "verify", "--repair")
        assert done.code == 0, done.out + done.err
        assert wrong_names(self.cache) == []
        assert broken_records(self.cache) == []
        self.check()

    @rule(number=seeds)
    def remove_a_run(self, number: int) -> None:
        known = [run.id for run in self.runs if run.id]
        if known:
            gone = known[number % len(known)]
            assert self.command("runs", "rm", gone).code == 0
            self.runs = [run for run in self.runs if run.id != gone]

    @rule(what=st.sampled_from(["state", "state/files.json", "state/last.json"]))
    def lose_state(self, what: str) -> None:
        path = self.root / ".edgepipe" / what
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.run()

    @rule(run=st.booleans())
    def move(self, run: bool) -> None:
        self.count += 1
        self.root = self.root.rename(self.base / f"p{self.count}")
        # What holds names the place; the next run from here says it anew.
        for earlier in self.runs:
            earlier.holds = False
        if run:
            self.run()

    @rule()
    def clone(self) -> None:
        """Somebody else has the same project, and nothing in the cache."""
        clone, cache = self.base / "clone", self.base / "clone-cache"
        shutil.copytree(self.root, clone, ignore=shutil.ignore_patterns(".edgepipe"))
        self.sure[cache] = set()
        done = self.command("run", "p.yaml", "--json", remote=True, cwd=clone, cache=cache)
        self.judge(done, self.pipeline.points(), cache, remote=True)
        del self.sure[cache]
        shutil.rmtree(clone)
        shutil.rmtree(cache)

    def clean_run(self) -> None:
        """The oracle itself is right: a run without a cache gives what it says."""
        cache = self.base / "clean-cache"
        self.sure[cache] = set()
        done = self.command("run", "p.yaml", "--json", cache=cache)
        self.judge(done, self.pipeline.points(), cache)

    # How it is done.

    def start(
        self, *arguments: object, remote: bool = False, cwd: Path | None = None, cache: Any = None
    ) -> int:
        self.trace = self.base / "trace"
        self.trace.write_text("")
        env = {"EDGEPIPE_CACHE": str(cache or self.cache), "TRACE": str(self.trace)}
        if remote:
            env["EDGEPIPE_REMOTE"] = str(self.shared)
            self.shared.mkdir(exist_ok=True)
        return self.forker.start(*arguments, cwd=cwd or self.root, env={**os.environ, **env})

    def command(self, *arguments: object, **options: Any) -> Ended:
        self.start(*arguments, **options)
        return self.forker.end()

    def run(
        self,
        *options: object,
        overrides: dict[str, int] | None = None,
        until: str = "",
        fresh: str = "",
        remote: bool = False,
    ) -> None:
        points = self.pipeline.points(overrides or {})
        if until:
            points = _only(points, until)
        done = self.command("run", "p.yaml", "--json", *options, remote=remote)
        result = self.judge(done, points, self.cache, remote=remote, fresh=fresh)
        keys = [(node["name"], node["key"]) for node in result["nodes"] if node["key"]]
        last = next((run for run in reversed(self.runs) if run.id), None)
        if any(run.id == result["id"] for run in self.runs):
            # Nothing was to do: it is the last run that is shown.
            assert last is not None
            assert last.id == result["id"]
            self.runs.remove(last)
        self.runs.append(Run(result["id"], keys))

    def judge(
        self,
        done: Ended,
        points: dict[str, Point],
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
        stores = [cache, self.shared] if remote else [cache]
        ran = [line.split()[1] for line in self.trace.read_text().splitlines() if "start" in line]
        self.right_ones_ran(ran, points, stores, fresh)
        for node in result["nodes"]:
            point = points[node["name"]]
            if point.values is None:
                assert node["status"] == ("failed" if point.ingredients else "skipped")
                continue
            assert node["status"] == ("ran" if node["name"] in ran else "cached")
            assert set(node["outputs"]) == set(point.values)
            for port, value in point.values.items():
                assert _content(cache, node["outputs"][port]["digest"]) == {
                    "value": str(value),
                    "deep/parity": str(value % 2),
                }
            assert point.ingredients is not None
            assert self.keys.setdefault(point.ingredients, node["key"]) == node["key"]
            self.sure[cache].add(point.ingredients)
            if remote and node["name"] in ran:
                # Of what is damaged there, nobody knows who has not looked for it.
                if not self.hurt or self.whole(self.shared, node["key"], explained=True):
                    self.sure[self.shared].add(point.ingredients)
        assert len(set(self.keys.values())) == len(self.keys)
        self.maybe -= self.keys.keys()
        self.check()
        return result

    def right_ones_ran(
        self, ran: list[str], points: dict[str, Point], stores: list[Path], fresh: str
    ) -> None:
        """All that is in no store, once for each key, and nothing else."""
        started = [points[name].ingredients for name in ran]
        for ingredients in {point.ingredients for point in points.values() if point.ingredients}:
            same = [name for name, point in points.items() if point.ingredients == ingredients]
            asked = sum(name.partition("[")[0] == fresh for name in same)
            times = started.count(ingredients)
            if points[same[0]].values is None:
                assert times == len(same), f"{same} fail, each by itself"
            elif asked:
                assert times == asked, f"{same} were asked for"
            elif any(ingredients in self.sure[store] for store in stores):
                assert times == 0, f"{same} ran without need"
            elif ingredients not in self.maybe and not self.hurt:
                assert times == 1, f"{same} ran {times} times and are not in the cache"
            else:
                assert times <= 1, f"{same} ran {times} times"

    def after_kill(self, points: dict[str, Point]) -> None:
        """Whatever was read by what began was finished before, and is kept."""
        ran = [line.split()[1] for line in self.trace.read_text().splitlines() if "start" in line]
        for name in ran:
            made = points[name].ingredients
            assert made is not None
            if made not in self.sure[self.cache]:
                self.maybe.add(made)
            for source in points[name].sources:
                ingredients = points[source].ingredients
                assert ingredients is not None
                if ingredients in self.keys:
                    self.sure[self.cache].add(ingredients)
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
        most = least = 0
        for run in reversed(self.runs):
            ingredients = {known[key] for _, key in run.keys if key in known}
            if run.holds and run.id and most < keep:
                held |= ingredients
            if least < keep:
                allowed |= ingredients
            else:
                run.holds = False
            most += 1
            least += bool(run.holds and run.id)
        return held, allowed

    def check(self) -> None:
        """Nothing is missing that nothing took away; a record never names what is not there."""
        for store, sure in self.sure.items():
            missing = [i for i in sure if not self.whole(store, self.keys[i])]
            assert missing == [], f"{store.name} has lost {missing}"
        if not self.hurt:
            assert wrong_names(self.cache) == []
            assert broken_records(self.cache) == []

    def whole(self, store: Path, key: str, *, explained: bool = False) -> bool:
        """Whether a key's record and all that it names are there, with the right bytes.

        Args:
            store: the cache, or the remote.
            key: whose record.
            explained: also what explains the key, which a result does not need.
        """
        record = _record(store, key)
        if record is None:
            return False
        wrong = set(wrong_names(store))
        needs = set(record.manifests.values()) if explained else set()
        for output in record.outputs.values():
            tree = _object(store, output.tree)
            if output.tree in wrong or not tree.exists():
                return False
            needs |= {file.digest for file in unpack_tree(tree.read_bytes())}
        return not needs & wrong and all(_object(store, digest).exists() for digest in needs)


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


def _content(cache: Path, tree: str) -> dict[str, str]:
    """What an output holds, read without the store."""
    listed = json.loads(_object(cache, tree).read_bytes())
    return {item["path"]: _object(cache, item["digest"]).read_text() for item in listed}


def _only(points: dict[str, Point], name: str) -> dict[str, Point]:
    """The nodes of an entry and what they need."""
    wanted = {n for n in points if n.partition("[")[0] == name}
    for node, point in reversed(points.items()):
        if node in wanted:
            wanted.update(point.sources)
    return {n: point for n, point in points.items() if n in wanted}


Machine.TestCase.settings = settings(
    max_examples=EXAMPLES or 8,
    stateful_step_count=12,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestRandomPipelines = Machine.TestCase
