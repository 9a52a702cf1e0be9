"""What edgepipe's orchestration may cost at most, and what it does cost here."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chains import Cost, Project, Tool, measure

from edgepipe.store import Store

GIB = 1 << 30
FILES = 10_000
MANY = 10_000
"""Nodes."""
DATA = '''"""tables: many files."""

from edgepipe.stage import Context, Folder, Stage, UserPath


class Tables(Stage):
    """Counts the files of a folder."""

    outputs = {"out": Folder}
    seeded = False

    folder: UserPath

    def run(self, ctx: Context) -> None:
        found = sum(1 for path in self.folder.rglob("*") if path.is_file())
        (ctx.output("out") / "count.txt").write_text(str(found))
'''


@dataclass(frozen=True)
class Bar:
    """One figure beside the most that it may be."""

    name: str
    value: float
    unit: str
    most: float

    @property
    def held(self) -> bool:
        """Whether it is low enough."""
        return self.value <= self.most

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {**asdict(self), "held": self.held}


def of_chains(rows: Sequence[dict[str, object]]) -> list[Bar]:
    """The bars on chains, as far as ``chains.compare`` measured them.

    Args:
        rows: what it gave, of one or several lengths of the chain.
    """
    found = {(str(row["tool"]), int(str(row["nodes"]))): row for row in rows}

    def figure(tool: str, nodes: int, name: str) -> float:
        return float(str(found[tool, nodes][name]))

    bars = []
    for nodes, most in ((10, 1.3), (1000, 2.0)):
        if ("edgepipe", nodes) in found:
            value = figure("edgepipe", nodes, "noop_times_python")
            bars.append(Bar(f"no-op, {nodes} nodes", value, "× python -c pass", most))
    for peer, share in (("doit", 6), ("snakemake", 80), ("dvc", 800)):
        if (peer, 1000) in found and ("edgepipe", 1000) in found:
            value = figure("edgepipe", 1000, "noop_s") / figure(peer, 1000, "noop_s")
            bars.append(Bar(f"no-op, 1000 nodes, beside {peer}", value, f"× {peer}", 1 / share))
    if ("edgepipe", 1000) in found:
        value = figure("edgepipe", 1000, "leaf_times_python")
        bars.append(Bar("one leaf of 1000 changed", value, "× python -c pass", 3.0))
        if ("edgepipe", 100) in found:
            more = figure("edgepipe", 1000, "first_s") - figure("edgepipe", 100, "first_s")
            name = "first run, a node more, with its stage"
            bars.append(Bar(name, more / 900 * 1e3, "ms of processor time", 1.0))
    return bars


def of_one_machine(edgepipe: Tool, rounds: int, root: Path) -> list[Bar]:
    """The bars that need no peer.

    Args:
        edgepipe: how it is called.
        rounds: of which the median counts.
        root: an empty folder on the disk to measure.
    """
    return [
        *_starts(edgepipe, rounds, root),
        *_growth(edgepipe, rounds, root),
        _many_files(edgepipe, rounds, root),
        _publish(rounds, root / "publish"),
        *_restore(rounds, root / "restore"),
    ]


def _starts(edgepipe: Tool, rounds: int, root: Path) -> list[Bar]:
    program = edgepipe.command[0]
    costs: dict[str, list[float]] = {"--version": [], "--help": [], "python": []}
    for _ in range(rounds * 3):
        for name, found in costs.items():
            command = [sys.executable, "-c", "pass"] if name == "python" else [program, name]
            found.append(measure(command, root, {}).cpu)
    middle = {name: statistics.median(found) for name, found in costs.items()}
    return [
        Bar(f"edgepipe {name}", middle[name] / middle["python"], "× python -c pass", most)
        for name, most in (("--version", 1.5), ("--help", 2.5))
    ]


def _growth(edgepipe: Tool, rounds: int, root: Path) -> list[Bar]:
    """A chain of 10,000 nodes is planned whole, and its last nodes cost no more than its first."""
    command = [edgepipe.command[0], "plan", "pipeline.yaml"]
    lengths = (MANY // 10, MANY // 2, MANY)
    projects = {n: Project(edgepipe, n, root / f"growth-{n}") for n in lengths}
    costs: dict[int, list[Cost]] = {n: [] for n in lengths}
    for _ in range(rounds):
        for nodes, project in projects.items():
            costs[nodes].append(measure(command, project.folder, project.env))
    few, half, all_ = (statistics.median(c.cpu for c in costs[n]) for n in lengths)
    # What starting and importing cost falls out. The tenth more is for the processor's caches.
    growth = (all_ - half) / (lengths[2] - lengths[1]) / ((half - few) / (lengths[1] - lengths[0]))
    wall = statistics.median(cost.wall for cost in costs[MANY])
    memory = max(cost.memory for cost in costs[MANY])
    return [
        Bar(f"plan of {MANY:,} nodes", wall, "s", 3.0),
        Bar(f"plan of {MANY:,} nodes, memory", memory / 1e6, "MB", 400.0),
        Bar("plan, one of the last 5,000 nodes beside one before", growth, "×", 1.1),
    ]


def _many_files(edgepipe: Tool, rounds: int, root: Path) -> Bar:
    folder = root / "files"
    (folder / "plugins").mkdir(parents=True)
    (folder / "plugins" / "tables.py").write_text(DATA)
    (folder / "edgepipe.toml").write_text("")
    (folder / "pipeline.yaml").write_text(
        "edgepipe: 1\nname: files\nstages:\n  a: {uses: tables, with: {folder: data}}\n"
    )
    _write_files(folder / "data")
    env = {"EDGEPIPE_CACHE": str(folder / "cache")}
    # What was written just before is not remembered yet: a later write could bear the same time.
    for _ in range(3):
        measure(edgepipe.command, folder, env)
        time.sleep(0.1)
    costs = [measure(edgepipe.command, folder, env).cpu for _ in range(rounds)]
    return Bar(f"no-op over {FILES:,} files", statistics.median(costs) * 1e3, "ms", 60.0)


def _write_files(folder: Path) -> None:
    for number in range(FILES):
        place = folder / f"{number % 100}"
        if number < 100:
            place.mkdir(parents=True)
        (place / f"{number}.txt").write_text(f"{number}\n" * 64)


def _publish(rounds: int, folder: Path) -> Bar:
    folder.mkdir()
    source = folder / "source"
    with source.open("wb") as file:
        for _ in range(64):
            file.write(os.urandom(GIB // 64))
    more = []
    for number in range(max(3, rounds // 2)):
        copied = _seconds(shutil.copyfile, source, folder / "copy")
        (folder / "copy").unlink()
        store = Store(folder / f"cache{number}")

        more.append(_seconds(_write_and_publish, store, source) - copied)
        store.close()
        shutil.rmtree(folder / f"cache{number}")
    shutil.rmtree(folder)
    return Bar("publish 1 GiB, beyond a plain copy", statistics.median(more), "s", 0.5)


def _write_and_publish(store: Store, source: Path) -> None:
    """As a stage writes a model, which the engine then takes into the store."""
    staging = store.staging("out")
    shutil.copyfile(source, staging / "out" / "model.bin")
    store.put_tree(staging / "out")


def _restore(rounds: int, folder: Path) -> list[Bar]:
    """Each object's bytes are known to be right: hashed before, and its file is as it was then."""
    folder.mkdir()
    store = Store(folder / "cache")
    staging = store.staging("out")
    _write_files(staging / "out" / "data")
    tree = store.put_tree(staging / "out").digest
    store.sync()
    ways: dict[str, Callable[[Path], object]] = {
        "links": lambda target: store.link(tree, target),
        "copies": lambda target: store.copy(tree, target),
    }
    plain = folder / "plain"
    store.copy(tree, plain)
    ways["cp"] = lambda target: subprocess.run(["cp", "-r", plain, target], check=True)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(max(3, rounds // 2)):
        for name, way in ways.items():
            # Nothing is removed in between: ext4 passes over the inodes of what was removed in the
            # last minutes one by one, so that a new file takes up to ten times as long.
            times[name].append(_seconds(way, folder / f"{name}{number}"))
    store.close()
    *ours, cp = (statistics.median(found) for found in times.values())
    names = ["as links, for a stage", f"as copies, for the user (cp -r: {cp:.2f} s)"]
    return [
        Bar(f"verified restore of {FILES:,} files {name}", value, "s", 0.3)
        for name, value in zip(names, ours, strict=True)
    ]


def _seconds(work: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun
