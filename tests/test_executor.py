"""Real workers: what they are told and tell, how they end, and that nothing of them stays."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import Folder, alive

from edgepipe.executor import Job, Message
from edgepipe.executor.local import LocalExecutor


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor(2)
    yield executor
    executor.close(force=True)


def job(project: Folder, how: str, node: str = "m", **changes: object) -> Job:
    folder = project.path / "jobs" / node
    outputs = {port: folder / port for port in ("values", "report")}
    for path in (*outputs.values(), folder / "scratch"):
        path.mkdir(parents=True, exist_ok=True)
    given = {
        "node": node,
        "module": "misbehave",
        "path": str(project.path / "plugins" / "misbehave.py"),
        "root": str(project.path / "plugins"),
        "plugin": True,
        "params": {"how": how, "seconds": 0.0},
        "inputs": {},
        "outputs": {port: str(path) for port, path in outputs.items()},
        "seed": 7,
        "threads": 1,
        "scratch": str(folder / "scratch"),
        "project": str(project.path),
        "log": str(folder / "log"),
        **changes,
    }
    return Job(**given)  # type: ignore[arg-type]


def finish(executor: LocalExecutor, *jobs: Job, within: float = 30) -> list[Message]:
    for one in jobs:
        executor.start(one)
    messages: list[Message] = []
    deadline = time.monotonic() + within
    while sum(message.last for message in messages) < len(jobs):
        assert time.monotonic() < deadline, messages
        messages += executor.poll(1.0)
    return messages


def gone(*pids: int, within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_a_worker_serves_several_jobs(executor: LocalExecutor, project: Folder) -> None:
    first = finish(executor, job(project, "warn", "a"))
    assert [message.name for message in first] == ["progress", "warning", "done"]
    assert first[0].data["numbers"] == {"loss": 1.0}
    done = first[-1].data
    assert done["seconds"] > 0
    assert done["cpu_seconds"] > 0
    assert done["peak_memory"] > 1_000_000
    finish(executor, job(project, "not", "b"))
    assert len({event["pid"] for event in project.events()}) == 1


def test_a_process_that_may_know_old_files_gets_no_more_jobs(
    project: Folder, executor: LocalExecutor
) -> None:
    finish(executor, job(project, "not"))
    executor.renew()
    finish(executor, job(project, "not"))
    finish(executor, job(project, "not"))
    first, *others = [e["pid"] for e in project.events() if e["what"] == "start"]
    assert len(set(others)) == 1
    assert first not in others


def test_a_worker_has_the_threads_that_its_job_may_use(
    executor: LocalExecutor, project: Folder
) -> None:
    finish(executor, job(project, "not", "a", threads=1))
    finish(executor, job(project, "not", "b", threads=2))
    finish(executor, job(project, "not", "c", threads=3))
    finish(executor, job(project, "not", "d", threads=3))
    pids = [event["pid"] for event in project.events() if event["what"] == "start"]
    assert len(set(pids)) == 3
    assert pids[2] == pids[3]
    # There are never more than two.
    assert gone(pids[0])


ENDINGS = {
    "error": ("the sky is falling", "hold it up"),
    "exception": ("KeyError: 'absent'", "raised at <project>/plugins/misbehave.py:"),
    "sys_exit": ("the stage ended its process: sys.exit(0)", "a stage returns"),
    "os_exit": ("its process ended with status 0", "never exit"),
    "segv": ("its process crashed (SIGSEGV)", "the log shows"),
    "sigkill": ("its process was killed (SIGKILL), by someone or because memory ran out", "--jobs"),
    "no_output": ("the output 'values' is not valid: Numbers: numbers.json was not written", ""),
    "only_one_output": ("the output 'report' is not valid: Metrics: metrics.json was not", ""),
    "nan": ("the output 'report' is not valid: metric 'total' is nan", "never cached"),
    "not_json": ("the output 'report' is not valid: Metrics: metrics.json is not JSON", ""),
    "memory": ("memory ran out", "a smaller batch"),
}


@pytest.mark.parametrize("how", ENDINGS)
def test_a_job_that_fails_says_how(how: str, executor: LocalExecutor, project: Folder) -> None:
    last = finish(executor, job(project, how))[-1]
    message, hint = ENDINGS[how]
    assert last.name == "error"
    assert last.data["message"].startswith(message)
    assert hint in last.data["hint"].replace(str(project.path), "<project>")
    # The next job runs, in this worker or in a new one.
    assert finish(executor, job(project, "not", "next"))[-1].name == "done"


def test_the_log_holds_all_that_was_printed(executor: LocalExecutor, project: Folder) -> None:
    one, other = job(project, "exception", "a"), job(project, "print", "b")
    finish(executor, one)
    messages = finish(executor, other)
    log = Path(one.log).read_text()
    assert "before the exception" in log
    assert "Traceback" in log
    assert messages[-1].name == "done"
    size = Path(other.log).stat().st_size
    assert size == 64 * (2 * (1 << 16) + 1)


@pytest.mark.parametrize("how", ["grandchildren", "own_session"])
def test_a_timeout_ends_the_job_and_its_descendants(
    executor: LocalExecutor, project: Folder, how: str
) -> None:
    began = time.monotonic()
    last = finish(executor, job(project, how, timeout=1.5))[-1]
    assert time.monotonic() - began < 6
    assert last.data["message"] == "it took longer than its timeout of 1.5 s"
    pids = [int(pid) for pid in (project.path / "pids").read_text().split()]
    assert len(pids) == 3
    assert gone(*pids)


def test_an_orphan_that_holds_the_pipe_open_is_not_waited_for(
    executor: LocalExecutor, project: Folder
) -> None:
    last = finish(executor, job(project, "orphan_holds_pipe"), within=10)[-1]
    assert "SIGKILL" in last.data["message"]
    pids = [int(pid) for pid in (project.path / "pids").read_text().split()]
    assert gone(*pids)


@pytest.mark.parametrize("how", ["grandchildren", "own_session"])
@pytest.mark.parametrize("force", [False, True])
def test_closing_ends_everything_at_once(project: Folder, force: bool, how: str) -> None:
    executor = LocalExecutor(2)
    finish(executor, job(project, "not", "idle"))
    executor.start(job(project, how, "busy", threads=2))
    deadline = time.monotonic() + 10
    while not (project.path / "pids").exists() or not (project.path / "pids").read_text():
        assert time.monotonic() < deadline
        executor.poll(0.1)
    pids = [int(pid) for pid in (project.path / "pids").read_text().split()]
    idle = next(e["pid"] for e in project.events() if e["node"] == "idle")
    began = time.monotonic()
    executor.close(force=force)
    assert time.monotonic() - began < 4
    assert gone(*pids, idle)
    executor.close()


def test_a_worker_that_died_while_idle_gets_no_job(
    executor: LocalExecutor, project: Folder
) -> None:
    finish(executor, job(project, "not", "a"))
    pid = project.events()[0]["pid"]
    os.kill(pid, 9)
    assert gone(pid)
    assert finish(executor, job(project, "not", "b"))[-1].name == "done"


def test_what_a_stage_reads_from_standard_input_is_empty(
    executor: LocalExecutor, project: Folder
) -> None:
    project.write(
        "plugins/reads.py",
        "import sys\nfrom edgepipe.stage import Context, Folder, Stage\n\n\nclass Reads(Stage):\n"
        "    '''Reads.'''\n\n    outputs = {'out': Folder}\n\n"
        "    def run(self, ctx: Context) -> None:\n"
        "        (ctx.output('out') / 'x').write_text(repr(sys.stdin.read()))\n",
    )
    folder = project.path / "out"
    folder.mkdir()
    path = str(project.path / "plugins" / "reads.py")
    one = job(project, "not", module="reads", path=path, params={}, outputs={"out": str(folder)})
    assert finish(executor, one)[-1].name == "done"
    assert (folder / "x").read_text() == "''"


def test_a_stage_that_does_not_import_is_an_error(executor: LocalExecutor, project: Folder) -> None:
    project.write("plugins/misbehave.py", "raise RuntimeError('not today')\n")
    last = finish(executor, job(project, "not"))[-1]
    assert "does not import: RuntimeError: not today" in last.data["message"]


def test_jobs_are_plain_data(project: Folder) -> None:
    from dataclasses import asdict

    one = job(project, "not", timeout=3.0)
    assert Job(**json.loads(json.dumps(asdict(one)))) == one
