"""Any graph, any sequence of edits, kills, gc and pulls: each result is that of a clean run.

What a node makes is told by plain arithmetic (`random_pipelines`), and so is what its key is made
of; a node must run if, and only if, no result of the same is in the cache. Every command is a real
process, since kills, locks and gc are about processes; they are forked from one that has imported
the package, which is what makes hundreds of them affordable (`forked`).

EDGEPIPE_EXAMPLES=1000 searches longer, each time elsewhere.
"""

from __future__ import annotations

import os
import shutil
import time
from copy import deepcopy
from random import Random

from forked import shared
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_edits import EDITS, edit
from random_pipelines import random_pipeline
from random_world import World
from storing import broken_records, flip, objects, records, wrong_names

EXAMPLES = int(os.environ.get("EDGEPIPE_EXAMPLES", "0"))
seeds = st.integers(0, 2**32)
edits = st.lists(st.tuples(st.sampled_from(list(EDITS)), seeds), min_size=1, max_size=3)


class Machine(RuleBasedStateMachine):
    """A project, its cache, a remote, and all that may befall them."""

    @initialize(seed=seeds, size=st.integers(2, 7))
    def begin(self, seed: int, size: int) -> None:
        self.world = World(random_pipeline(Random(seed), size))
        self.earlier = [deepcopy(self.world.pipeline)]

    def teardown(self) -> None:
        try:
            # The oracle itself is right: a run without a cache gives what it says.
            self.world.run_apart("clean")
        finally:
            shutil.rmtree(self.world.base)

    def edit(self, edits: list[tuple[str, int]]) -> None:
        for which, number in edits:
            self.world.pipeline = edit(self.world.pipeline, Random(number), self.world.root, which)
        self.earlier.append(deepcopy(self.world.pipeline))

    @rule(edits=edits, seed=seeds)
    def edit_and_run(self, edits: list[tuple[str, int]], seed: int) -> None:
        self.edit(edits)
        rng = Random(seed)
        self.world.run("--jobs", rng.choice([1, 2]), remote=rng.random() < 0.3)

    @rule(number=seeds, remote=st.booleans())
    def go_back(self, number: int, remote: bool) -> None:
        written = self.world.pipeline.written
        self.world.pipeline = deepcopy(self.earlier[number % len(self.earlier)])
        self.world.pipeline.written = written
        self.world.pipeline.write(self.world.root)
        self.world.run(remote=remote)

    @rule(seed=seeds)
    def run_otherwise(self, seed: int) -> None:
        rng, pipeline = Random(seed), self.world.pipeline
        overrides = {f"vars.{rng.choice(list(pipeline.variables))}": rng.randrange(5)}
        name, entry = rng.choice(list(pipeline.entries.items()))
        if not entry.values:
            overrides[f"{name}.with.salt"] = rng.randrange(5)
        options = [part for at, value in overrides.items() for part in ("--set", f"{at}={value}")]
        if rng.random() < 0.3:
            self.world.run(*options, "--fresh", name, overrides=overrides, fresh=name)
        elif rng.random() < 0.5:
            self.world.run(*options, "--until", name, overrides=overrides, until=name)
        else:
            self.world.run(*options, overrides=overrides)

    @rule(edits=edits, seed=seeds)
    def kill_a_run(self, edits: list[tuple[str, int]], seed: int) -> None:
        self.edit(edits)
        rng = Random(seed)
        pid = self.world.start("run", "p.yaml", "--jobs", 2, remote=rng.random() < 0.3)
        time.sleep(rng.random() * rng.choice([0.1, 0.5, 0.8]))
        shared().end(kill=pid)
        self.world.after_kill()
        if rng.random() < 0.5:
            self.world.run(remote=rng.random() < 0.3)

    @rule(keep=st.integers(0, 3), size=st.sampled_from([None, None, 0, 2000, 10**6]), seed=seeds)
    def gc(self, keep: int, size: int | None, seed: int) -> None:
        world, rng = self.world, Random(seed)
        options = ["--max-size", f"{size} B"] if size is not None else []
        pid = world.start("cache", "gc", "--keep-runs", keep, *options)
        killed = rng.random() < 0.3
        if killed:
            time.sleep(rng.random() * 0.03)
        done = shared().end(kill=pid if killed else None)
        held, allowed = world.held(keep)
        world.sure[world.cache] &= held
        if not killed:
            assert done.code == 0, done.err
            if size in {None, 0}:
                there = {path.parent.name + path.name for path in records(world.cache)}
                assert {i for i, key in world.keys.items() if key in there} <= allowed
        world.check()

    @rule(
        number=seeds,
        how=st.sampled_from(["flip", "cut", "unlink"]),
        remote=st.booleans(),
        run=st.booleans(),
    )
    def damage(self, number: int, how: str, remote: bool, run: bool) -> None:
        store = self.world.shared if remote else self.world.cache
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
        self.world.took_away(store)
        if run:
            self.world.run(remote=remote)

    @rule()
    def repair(self) -> None:
        done = self.world.command("cache", "verify", "--repair")
        assert done.code == 0, done.out + done.err
        assert wrong_names(self.world.cache) == []
        assert broken_records(self.world.cache) == []
        self.world.check()

    @rule(number=seeds)
    def remove_a_run(self, number: int) -> None:
        known = [run.id for run in self.world.runs if run.id]
        if known:
            gone = known[number % len(known)]
            assert self.world.command("runs", "rm", gone).code == 0
            self.world.runs = [run for run in self.world.runs if run.id != gone]

    @rule(what=st.sampled_from(["state", "state/files.json", "state/last.json"]))
    def lose_state(self, what: str) -> None:
        path = self.world.root / ".edgepipe" / what
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.world.run()

    @rule(number=seeds, run=st.booleans())
    def move(self, number: int, run: bool) -> None:
        world = self.world
        world.root = world.root.rename(world.root.with_name(f"p{number}"))
        # What holds names the place; the next run from here says it anew.
        for earlier in world.runs:
            earlier.holds = False
        if run:
            world.run()

    @rule()
    def clone(self) -> None:
        """Somebody else has the same project, and only the remote's results."""
        self.world.run_apart("clone", remote=True)


Machine.TestCase.settings = settings(
    max_examples=EXAMPLES or 4,
    stateful_step_count=35,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestRandomPipelines = Machine.TestCase
