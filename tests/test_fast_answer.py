"""A run that answers from what it remembered says what it would say after loading the pipeline.

After random edits, of all that a run reads and of where it stands, whatever the fast path answers
(`edgepipe.noop`) is compared with the same command that does not ask it: exit code, both outputs,
and the files of the project's runs. The other way round, it has to answer where nothing was done.

The commands are real processes, since what is remembered is of processes and files; they are
forked from one that has imported the package (`forked`), without which each would take a second.

EDGEPIPE_EXAMPLES=1000 searches longer, each time elsewhere.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from random import Random

from fast_edits import ALL, World
from forked import Ended, shared
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from random_pipelines import random_pipeline

EXAMPLES = int(os.environ.get("EDGEPIPE_EXAMPLES", "0"))
SETTLED = 0.06
"""Seconds after which a file is known to be as it was: of those written just now nothing is kept."""
seeds = st.integers(0, 2**32)


class Machine(RuleBasedStateMachine):
    """A project, and commands that are given again and again."""

    @initialize(seed=seeds, size=st.integers(1, 4))
    def begin(self, seed: int, size: int) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="edgepipe-fast-"))
        self.world = World(self.base, random_pipeline(Random(seed), size))
        self.last = self.some_command(Random(seed))
        self.ask(settled=True)

    def teardown(self) -> None:
        shutil.rmtree(self.base, ignore_errors=True)

    @rule(edits=st.lists(st.tuples(st.sampled_from(ALL), seeds), max_size=2), seed=seeds)
    def edit_and_ask(self, edits: list[tuple[str, int]], seed: int) -> None:
        rng = Random(seed)
        for which, number in edits:
            self.world.apply(which, Random(number))
        if rng.random() < 0.2:
            self.last = self.some_command(rng)
        self.ask(settled=rng.random() < 0.8)

    @rule(which=st.sampled_from(ALL), number=seeds)
    def edit_while_it_runs(self, which: str, number: int) -> None:
        """What changes meanwhile, the run may have read before."""
        rng = Random(number)
        # What a run wrote itself it does not read again before it ends.
        if which in {"move", "all runs", "run", "state"} or rng.random() < 0.6:
            return
        usual, self.world.cache = self.world.cache, self.world.base / "empty"
        time.sleep(SETTLED)
        self.start()
        time.sleep(0.1)
        self.world.apply(which, rng)
        shared().end()
        self.ask(settled=False)
        shutil.rmtree(self.world.cache, ignore_errors=True)
        self.world.cache = usual

    def some_command(self, rng: Random) -> list[str]:
        """A pipeline and options."""
        name = rng.choice(["p.yaml", "q.yaml", "q.yaml", "q.yaml"])
        options = [[], ["--json"], ["--jobs", "1"], ["--plain"], ["--no-keep-going"]]
        if name == "q.yaml":
            options += [["--until", "uses"], ["--from", "tables"], ["--set", "vars.least=9"]]
            options += [["--fresh", "tables"], ["--report", "report.html"], ["--junit", "j.xml"]]
        name = rng.choice([name, name, f"./{name}", f"../{self.world.root.name}/{name}"])
        return [name, *rng.choice(options), *rng.choice(options)]

    def start(self, *, slow: bool = False) -> int:
        world = self.world
        return shared().start(
            "run",
            *self.last,
            cwd=world.root,
            env=world.env(),
            slow=slow,
            encoding=world.encoding,
            path=world.path,
        )

    def command(self, *, slow: bool = False) -> Ended:
        self.start(slow=slow)
        return shared().end()

    def ask(self, *, settled: bool) -> None:
        """Give the command; once more where nothing may have to be done again."""
        if settled:
            time.sleep(SETTLED)
        done = self.command()
        note(f"{' '.join(self.last)}: {done.code}, {'fast' if done.fast else 'slow'}")
        assert "Traceback" not in done.err, done.err
        self.compare(done)
        if done.code not in {0, 3}:
            self.world.heal()
        elif settled and not {"--fresh", "--report", "--junit"} & set(self.last):
            again = self.command()
            assert again.fast, f"{done.out}{done.err} was not remembered"
            self.compare(again)

    def compare(self, done: Ended) -> None:
        """What was answered fast is what would have been answered slowly."""
        if not done.fast:
            return
        before = self.runs()
        slow = self.command(slow=True)
        assert (done.code, done.out, done.err) == (slow.code, slow.out, slow.err)
        assert self.runs() == before
        for option, name in (("--report", "report.html"), ("--junit", "j.xml")):
            assert option not in self.last, f"{name} was not written"

    def runs(self) -> dict[str, bytes]:
        """All files of the project's runs."""
        files = self.world.root.glob(".edgepipe/runs/**/*")
        return {str(file): file.read_bytes() for file in files if file.is_file()}


Machine.TestCase.settings = settings(
    max_examples=EXAMPLES or 4,
    stateful_step_count=50,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestFastAnswer = Machine.TestCase
