"""A chain of N stages that each copy one small file, for edgepipe and its peers, and what it costs."""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = {
    "dvc": ["dvc"],
    "snakemake": ["snakemake"],
    "doit": ["doit"],
    "redun": ["redun", "setuptools<81"],
    "ninja": ["ninja"],
}
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
"""Python as it is by default, for all tools: it keeps the bytecode of what it imports."""

SHORT = 100
"""Nodes of a chain for Snakemake and redun, whose recursion ends below 1000; others get one chain."""
MANY = 100
"""Nodes beyond which a tool is settled rather than run first, if it can be."""
LEAF = "leaf.txt"
MOST = {"dvc": 1000, "snakemake": 1000, "redun": 1000}

PLUGIN = '''"""copy: one small file."""

import shutil

from edgepipe.stage import Context, Field, Folder, Stage, UserPath, optional


class Copy(Stage):
    """Copy a file."""

    inputs = {"source": optional(Folder)}
    outputs = {"out": Folder}
    seeded = False

    path: UserPath | None = Field(None, description="where the chain begins")
    number: int = Field(0, description="tells stages apart")

    def run(self, ctx: Context) -> None:
        source = ctx.path("source")
        file = self.path if source is None else source / "file.txt"
        shutil.copyfile(file, ctx.output("out") / "file.txt")
'''


@dataclass
class Tool:
    """A peer: how its project is written and which command brings it up to date."""

    name: str
    command: list[str]
    write: Callable[[Path, int], None]
    env: dict[str, str] = field(default_factory=dict)
    before: Sequence[list[str]] = ()
    settle: Callable[[Project], None] | None = None
    """Brings long chains into the state that a first run leaves, where that would take hours."""


def write_edgepipe(folder: Path, nodes: int) -> None:
    """A pipeline and its plug-in."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "copy.py").write_text(PLUGIN)
    (folder / "edgepipe.toml").write_text("")
    lines = ["edgepipe: 1", "name: chain", "stages:"]
    for i in range(nodes):
        source = files(i, nodes)[0]
        if source.startswith("out"):
            lines.append(f"  s{i}: {{uses: copy, in: {{source: s{i - 1}}}, with: {{number: {i}}}}}")
        else:
            lines.append(f"  s{i}: {{uses: copy, with: {{path: {source}, number: {i}}}}}")
    (folder / "pipeline.yaml").write_text("\n".join(lines) + "\n")


def files(i: int, nodes: int, chain: int = 0) -> tuple[str, str]:
    """What stage ``i`` of ``nodes`` copies, and to where; in one chain, or several of a length."""
    first = "start.txt" if i % (chain or nodes) == 0 else f"out{i - 1}.txt"
    return (LEAF if i == nodes - 1 else first), f"out{i}.txt"


def write_dvc(folder: Path, nodes: int) -> None:
    """The chains for dvc."""
    lines = ["stages:"]
    for i in range(nodes):
        source, target = files(i, nodes)
        lines.append(
            f"  s{i}:\n    cmd: cp {source} {target}\n    deps: [{source}]\n    outs: [{target}]"
        )
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")


def settle_dvc(project: Project) -> None:
    """Write ``dvc.lock`` as a first run does, which takes time with N²: two stages are run for what
    it holds of one file, the others are written after them.
    """
    import yaml

    program, folder, nodes = project.tool.command[0], project.folder, project.nodes
    first, last = "s0", f"s{nodes - 1}"
    measure([program, "repro", "-q", first, last], folder, project.env)
    lock = folder / "dvc.lock"
    known = yaml.safe_load(lock.read_text())
    sample = known["stages"][first]
    for i in range(1, nodes - 1):
        source, target = files(i, nodes)
        known["stages"][f"s{i}"] = {
            "cmd": f"cp {source} {target}",
            "deps": [{**sample["deps"][0], "path": source}],
            "outs": [{**sample["outs"][0], "path": target}],
        }
        shutil.copyfile(folder / source, folder / target)
    text = yaml.safe_dump(known, sort_keys=False)
    lock.write_text(text)
    measure(project.tool.command, folder, project.env)
    if yaml.safe_load(lock.read_text()) != known:
        raise SystemExit("dvc found something to do in what it should take for done")


def write_snakemake(folder: Path, nodes: int) -> None:
    """The chains for snakemake."""
    ends = [
        files(i, nodes, SHORT)[1] for i in range(nodes) if i % SHORT == SHORT - 2 or i >= nodes - 2
    ]
    rules = [f"rule all:\n    input: {ends!r}"]
    for i in range(nodes):
        source, target = files(i, nodes, SHORT)
        rules.append(
            f'rule s{i}:\n    input: "{source}"\n    output: "{target}"\n'
            '    shell: "cp {input} {output}"'
        )
    (folder / "Snakefile").write_text("\n\n".join(rules) + "\n")


def write_doit(folder: Path, nodes: int) -> None:
    """The chains for doit."""
    pairs = [files(i, nodes) for i in range(nodes)]
    (folder / "dodo.py").write_text(
        "def task_copy():\n"
        f"    for i, (source, target) in enumerate({pairs!r}):\n"
        "        yield {'name': str(i), 'actions': [f'cp {source} {target}'],\n"
        "               'file_dep': [source], 'targets': [target]}\n"
    )


def write_redun(folder: Path, nodes: int) -> None:
    """The chains for redun."""
    pairs = [files(i, nodes, SHORT) for i in range(nodes)]
    (folder / "workflow.py").write_text(
        "import shutil\nfrom redun import File, task\nredun_namespace = 'b'\n\n"
        "@task()\ndef copy(source: File, target: str) -> File:\n"
        "    shutil.copyfile(source.path, target)\n    return File(target)\n\n"
        "@task()\ndef main() -> list:\n    made = {}\n"
        f"    for source, target in {pairs!r}:\n"
        "        made[target] = copy(made[source] if source in made else File(source), target)\n"
        "    return list(made.values())\n"
    )


def write_ninja(folder: Path, nodes: int) -> None:
    """The chains for ninja."""
    lines = ["rule cp", "  command = cp $in $out"]
    for i in range(nodes):
        source, target = files(i, nodes)
        lines.append(f"build {target}: cp {source}")
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")


def tools(peers: Path | None) -> list[Tool]:
    """The edgepipe that is installed here, and the peers."""
    ours = Path(sys.executable).with_name("edgepipe")
    found = [Tool("edgepipe", [str(ours), "run", "pipeline.yaml"], write_edgepipe)]
    if peers is None:
        return found
    quiet = {"DVC_NO_ANALYTICS": "1", "REDUN_CONFIG": ".redun"}
    commands: dict[str, tuple[list[str], Callable[[Path, int], None], Sequence[list[str]]]] = {
        "dvc": (["repro", "-q"], write_dvc, (["init", "-q", "--no-scm"],)),
        "snakemake": (["-q", "-c1"], write_snakemake, ()),
        "doit": (["-v0"], write_doit, ()),
        "redun": (["run", "workflow.py", "main"], write_redun, ()),
        "ninja": ([], write_ninja, ()),
    }
    for name, (arguments, write, before) in commands.items():
        program = str(install(name, peers))
        setup = [[program, *one] for one in before]
        settle = settle_dvc if name == "dvc" else None
        found.append(Tool(name, [program, *arguments], write, quiet, setup, settle))
    return found


def install(name: str, peers: Path) -> Path:
    """A peer's command, from an environment of its own."""
    venv = peers / name
    program = venv / "bin" / name
    if not program.exists():
        print(f"installing {name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", *PACKAGES[name]]
        subprocess.run(pip, check=True)
    return program


@dataclass
class Cost:
    """Of one command: processor seconds, wall seconds, peak bytes."""

    cpu: float
    wall: float
    memory: int


def measure(command: Sequence[str], folder: Path, env: dict[str, str]) -> Cost:
    """Run a command to its end. Raises SystemExit where it fails."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, env={**ENVIRONMENT, **env}, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(command)} failed: {text}")
    wall = time.perf_counter() - begun
    return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024)


class Project:
    """A tool's chain of N stages in a folder of its own."""

    def __init__(self, tool: Tool, nodes: int, folder: Path) -> None:
        self.tool = tool
        self.nodes = nodes
        self.folder = folder
        folder.mkdir(parents=True)
        self.env = {**tool.env, "EDGEPIPE_CACHE": str(folder / "cache")}
        (folder / "start.txt").write_text("start\n")
        self.leaves = itertools.count()
        self.edit()
        tool.write(folder, nodes)
        for command in tool.before:
            measure(command, folder, self.env)

    def edit(self) -> None:
        """Change what one stage reads, and no other."""
        (self.folder / LEAF).write_text(f"leaf {next(self.leaves)}\n")

    def first(self) -> Cost | None:
        """Run it for the first time; None where that state was brought about otherwise."""
        if self.nodes <= MANY or self.tool.settle is None:
            return self.run()
        self.tool.settle(self)
        return None

    def run(self) -> Cost:
        """Bring it up to date."""
        return measure(self.tool.command, self.folder, self.env)


def compare(nodes: int, found: list[Tool], rounds: int, root: Path) -> list[dict[str, object]]:
    """One row a tool: first run, no-op, one leaf edited, beside ``python -c pass`` in the same rounds."""
    projects = [Project(tool, nodes, root / f"{tool.name}-{nodes}") for tool in found]
    first = {p.tool.name: p.first() for p in projects}
    for project in projects:
        project.run()
    base: list[float] = []
    again: dict[str, list[Cost]] = {p.tool.name: [] for p in projects}
    edited: dict[str, list[Cost]] = {p.tool.name: [] for p in projects}
    for _ in range(rounds):
        base.append(measure([sys.executable, "-c", "pass"], root, {}).cpu)
        for project in projects:
            name = project.tool.name
            slow = again[name] and again[name][0].cpu > 3
            if not slow or len(again[name]) < 3:
                again[name].append(project.run())
                project.edit()
                edited[name].append(project.run())
    python = statistics.median(base)
    rows: list[dict[str, object]] = []
    for name, costs in again.items():
        noop = statistics.median(cost.cpu for cost in costs)
        leaf = statistics.median(cost.cpu for cost in edited[name])
        begun = first[name]
        rows.append(
            {
                "tool": name,
                "nodes": nodes,
                "python_s": python,
                "noop_s": noop,
                "noop_times_python": noop / python,
                "noop_memory_bytes": max(cost.memory for cost in costs),
                "leaf_s": leaf,
                "leaf_times_python": leaf / python,
                "first_s": begun.cpu if begun else None,
                "first_wall_s": begun.wall if begun else None,
            }
        )
    return rows
