"""Kills a real pipeline at random moments, again and again: are its results always right?

    python benchmarks/soak.py [--kills 2000] [--seed N] [--jobs N] [--seconds-limit N] [--json FILE]

The pipeline trains, distills, prunes, exports, quantizes and checks small networks. It is killed
(SIGKILL) at a random moment, and the same command is started again, as a user would; `cache gc` in
between is killed too. Who is killed: the tool alone, so that its workers must end by themselves;
the tool and all its workers; a worker alone. Now and then the pipeline is edited, or the cache is
removed. After each run that was let finish,

- every output of every node must be what a clean run, never killed, made in a store of its own;
- no step by hand may have been needed: what a kill does not explain is a failure;
- nothing may be left over: temporary files, scratch of finished nodes, held locks, processes;
- `edgepipe cache verify` must find no damage.

Most of a run is the import of frameworks, so moments are drawn by what happens, not only by the
clock: early ones cost little and meet compilation, look-up and runs without work; others wait for
a line, a staged output, a checkpoint or the end of the run, and kill a few ms later. The code is a
copy in which trainings write checkpoints every few steps, since these take only seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from soak_figures import Figures
from soak_place import NODES, RUN, TRAININGS, VARIANTS, Clean, Place, copy_of_the_code, parent

MOMENTS = {"early": 50, "line": 20, "staged": 12, "checkpoint": 8, "end": 7, "deep": 3}
"""What a kill waits for, by how often."""
WITHIN = {"early": 0.6, "line": 0.08, "staged": 0.1, "checkpoint": 0.4, "end": 0.08, "deep": 10.0}
"""Seconds after that in which the kill comes."""
VICTIMS = {"tool": 4, "all": 4, "worker": 2}
PATIENCE = 20.0
"""Seconds in which orphans must have ended."""


class Soak:
    """Kills in one place, cycle after cycle."""

    def __init__(self, place: Place, clean: Clean, figures: Figures, chance: random.Random) -> None:
        self.place = place
        self.clean = clean
        self.figures = figures
        self.chance = chance
        self.settled = False
        """Whether the last run was let finish, and nothing was edited since."""

    def cycle(self, variant: tuple[int, int]) -> None:
        """Kill a number of runs of one pipeline, let one finish, check it, kill what is left."""
        expected = self.clean.outputs(variant)
        if self.chance.random() < 0.6:
            self._await_end_of_orphans()
            shutil.rmtree(self.place.cache, ignore_errors=True)
            if self.chance.random() < 0.5:
                shutil.rmtree(self.place.project / ".edgepipe", ignore_errors=True)
        self.place.edit(variant)
        self.settled = False
        for _ in range(self.chance.randint(10, 30)):
            if not self.settled:
                self._attack(expected)
        self._let_finish(expected)
        for _ in range(self.chance.randint(2, 8)):
            self._attack(expected)
        self._let_finish(expected)
        with self.figures.lock:
            self.figures.cycles += 1

    def _attack(self, expected: dict[str, str]) -> None:
        """Start the command, or gc, and kill it; where it was faster, check it."""
        if self.figures.over():
            return
        (moment,) = self.chance.choices([*MOMENTS], [*MOMENTS.values()])
        (victim,) = self.chance.choices([*VICTIMS], [*VICTIMS.values()])
        command, seconds = RUN, WITHIN[moment]
        if self.chance.random() < 0.12:
            command, moment, seconds = ["cache", "gc", "--keep-runs", "1"], "early", 0.15
        elif self.settled:
            moment, seconds = "early", 0.06
        process = self.place.start(*command)
        self._wait(process, moment, self.chance.uniform(0, seconds))
        if process.poll() is None:
            self._kill(process, command, victim)
        code, told = process.wait(), self.place.told()
        by_kill = code == -signal.SIGKILL or "its process was killed (SIGKILL)" in told
        self._judge(command, 0 if by_kill else code, told, {} if code else expected)

    def _let_finish(self, expected: dict[str, str]) -> None:
        code, told = self.place.finish(*RUN)
        self._judge(RUN, code, told, expected)

    def _judge(self, command: list[str], code: int, told: str, expected: dict[str, str]) -> None:
        """Count what no kill explains; check a run that ended well."""
        with self.figures.lock:
            self.figures.warnings.update(re.findall(r"^ +[\d.]+  warning  (.*)", told, re.M))
        if code or "Traceback" in told:
            self.figures.fail("by_hand", f"{' '.join(command)}: exit code {code}", told)
        elif command == RUN and expected:
            self._check(told, expected)

    def _wait(self, process: subprocess.Popen[bytes], moment: str, seconds: float) -> None:
        """Until something happens, and then so many seconds; or until the process ends."""
        patterns = {"staged": "tmp/*/*/out.*/*", "checkpoint": "scratch/*/*.*"}
        known = set(self.place.glob(patterns.get(moment, "")))
        lines = self.chance.randint(1, 10)
        while process.poll() is None:
            if moment in patterns:
                if set(self.place.glob(patterns[moment])) - known:
                    break
            elif moment == "line":
                if self.place.told().count("\n") >= lines:
                    break
            elif moment != "end" or re.search(r"^ +\S+  end ", self.place.told(), re.M):
                break
            time.sleep(0.003)
        deadline = time.monotonic() + seconds
        while process.poll() is None and (rest := deadline - time.monotonic()) > 0:
            time.sleep(min(rest, 0.02))

    def _kill(self, process: subprocess.Popen[bytes], command: list[str], victim: str) -> None:
        """Kill, and note who and in which phase."""
        workers = [pid for pid in self.place.alive() if parent(pid) == process.pid]
        victim = victim if workers else "tool"
        phase = self._phase(command) if victim == "worker" else ""
        if victim != "worker":
            process.kill()
        for pid in {"tool": [], "worker": workers[:1], "all": workers}[victim]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if victim != "worker":
            process.wait()
        with self.figures.lock:
            self.figures.kills += 1
            self.figures.victims[victim] += 1
            self.figures.phases[phase or self._phase(command)] += 1

    def _phase(self, command: list[str]) -> str:
        """What the command was about, as its output and the file system tell."""
        if command != RUN:
            return "gc"
        told = self.place.told()
        words = re.findall(r"^ +[\d.]+  (\w+) +(\S+)", told, re.M)
        over = {node for word, node in words if word in {"done", "cached", "failed", "skipped"}}
        running = [node for word, node in words if word == "start" and node not in over]
        if not told:
            return "without work" if self.settled else "start and compile"
        if any(word == "end" for word, _ in words):
            return "report"
        if len(over) == NODES:
            return "sync"
        if not any(word == "start" for word, _ in words):
            return "look-up"
        if self.place.published_untold():
            return "publication"
        logs = max(self.place.project.glob(".edgepipe/runs/*/logs"), default=Path())
        begun = [node for node in running if (logs / f"{node}.log").exists()]
        if TRAININGS & {*begun}:
            trained = any(self.place.glob("scratch/*/*.checkpoint"))
            return "training, with a checkpoint" if trained else "training"
        return "another stage" if begun else "start of a node"

    def _check(self, told: str, expected: dict[str, str]) -> None:
        """All that is promised of a run that ended well."""
        fail = self.figures.fail
        self.settled = True
        report = re.search(r"^report: (.*)$", told, re.M)
        if report is None or not (self.place.project / report[1]).is_file():
            fail("wrong", "the run has no report", told)
        found = self.place.outputs()
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                fail("wrong", f"{name} is {found.get(name)} instead of {expected.get(name)}", told)
        self._await_end_of_orphans()
        for path in self.place.left_over(self.clean.place):
            fail("leaked", path, told)
            if not path.startswith("held"):
                # So that it counts once.
                shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink(missing_ok=True)
        code, said = self.place.finish("cache", "verify")
        if code or any(self.place.glob("quarantine/*")):
            fail("damaged", f"cache verify: exit code {code}", said)
        with self.figures.lock:
            self.figures.runs_checked += 1
            self.figures.outputs_checked += len(expected)

    def _await_end_of_orphans(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while (alive := self.place.alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in alive:
            self.figures.fail("leaked", f"process {process} lives on")
            os.kill(process, signal.SIGKILL)


def soak(folder: Path, figures: Figures, seed: int, jobs: int) -> None:
    """Let soaks go on side by side until there were enough kills."""
    code = copy_of_the_code(folder / "code")
    clean = Clean(Place(folder / "clean", code))
    begun = time.monotonic()

    def work(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        one = Soak(Place(folder / f"soak{number}", code), clean, figures, chance)
        variant = VARIANTS[0]
        while True:
            one.cycle(variant)
            seconds = time.monotonic() - begun
            print(f"{figures} in {seconds:.0f} s", flush=True)
            if figures.over():
                return
            variant = chance.choice(VARIANTS)

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(work, number) for number in range(jobs)]:
            done.result()


def main() -> int:
    """Soak and print; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=1, help="soaks side by side")
    parser.add_argument("--seconds-limit", type=float, default=math.inf, metavar="N")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    begun = time.monotonic()
    figures = Figures(given.kills, begun + given.seconds_limit)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    soak(folder, figures, given.seed, given.jobs)
    seconds = time.monotonic() - begun
    print(f"{figures} in {seconds:.0f} s")
    for name in ("phases", "victims", "warnings"):
        for what, count in getattr(figures, name).most_common():
            print(f"{name:<9}{count:>6}  {what}")
    if given.json:
        report = {"seed": given.seed, "seconds": seconds, **figures.as_json()}
        given.json.write_text(json.dumps(report, indent=1) + "\n")
    if figures.failures:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
