"""gc while real runs go on: nothing that they made or use is removed."""

from __future__ import annotations

from projects import Folder
from storing import broken_records, wrong_names

PIPELINE = """
edgepipe: 1
name: NAME
stages:
  n0: {uses: numbers, with: {count: COUNT}}
"""


def pipeline(project: Folder, name: str, count: int) -> str:
    text = PIPELINE.replace("NAME", name).replace("COUNT", str(count))
    for number in range(1, 8):
        text += (
            f"  n{number}: {{uses: misbehave, in: {{values: n{number - 1}}}, "
            f"with: {{how: not, seconds: 0.15}}, seed: {count * 100 + number}}}\n"
        )
    project.write(f"{name}.yaml", text)
    return f"{name}.yaml"


def test_gc_again_and_again_while_two_runs_go_on(project: Folder) -> None:
    files = [pipeline(project, name, count) for name, count in (("p", 3), ("q", 4))]
    processes = [project.start("run", file, "--plain") for file in files]
    collected = []
    while any(process.poll() is None for process in processes):
        done = project.edgepipe("cache", "gc", "--keep-runs", "0", "--json")
        assert done.code == 0, done.err
        # A run that is over lets go of what it held, some time before its process ends.
        if "n7" not in project.trace("end"):
            collected.append(done.json)
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, out.decode() + err.decode()
    # While both lived, each held what it had.
    assert collected
    assert all(found["records"] == [] for found in collected)
    assert wrong_names(project.cache) == []
    assert broken_records(project.cache) == []


def test_what_an_earlier_run_used_stays_though_it_was_made_anew(project: Folder) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n  numbers: {uses: numbers}\n"
        "  nap: {uses: measure, in: {values: numbers}}\n",
    )
    runs = [
        project.edgepipe("run", "p.yaml", *more, "--json").json
        for more in ((), ("--fresh", "nap"), ("--fresh", "nap"))
    ]
    assert project.edgepipe("cache", "gc").code == 0
    for run in runs:
        done = project.edgepipe("export", "nap.report", run["id"], "--run", run["id"])
        assert done.code == 0, done.err
        shown = (project.path / run["id"] / "metrics.json").read_text(encoding="utf-8")
        assert str(run["nodes"][1]["metrics"]["latency"]) in shown
