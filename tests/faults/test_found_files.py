"""Files that code finds by itself and that change while it runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from projects import Folder

FINDER = '''\
"""finder: adds up what lies beside it."""

import time
from pathlib import Path

from _values import Numbers, trace

from edgepipe.stage import Context, Stage, optional

HERE = Path(__file__).parent


class Finder(Stage):
    """Adds up the numbers in the tables beside it, slowly."""

    inputs = {"values": optional(Numbers)}
    outputs = {"values": Numbers}
    seeded = False

    seconds: float = 0

    def run(self, ctx: Context) -> None:
        total = sum(int(path.read_text()) for path in sorted(HERE.glob("*.table")))
        trace(ctx, "start")
        time.sleep(self.seconds)
        ctx.save("values", [total])
        trace(ctx, "end")
'''
DOUBTFUL = "changed while it ran, and its code may read that: it will run again"


@pytest.fixture
def finder(project: Folder) -> Folder:
    project.write("plugins/finder.py", FINDER)
    project.write("plugins/first.table", "10")
    project.write("plugins/notes.txt", "nothing")
    return project


def pipeline(project: Folder, seconds: float) -> None:
    project.write(
        "p.yaml",
        "edgepipe: 1\nname: p\nstages:\n"
        f"  r: {{uses: finder, with: {{seconds: {seconds}}}}}\n"
        "  d: {uses: double, in: {values: r}}\n",
    )


def edit(project: Folder, what: str) -> None:
    if what == "written":
        project.write("plugins/first.table", "20")
    elif what == "put back":
        project.write("plugins/first.table", "20")
        project.write("plugins/first.table", "10")
    elif what == "new":
        project.write("plugins/second.table", "5")
    elif what == "gone":
        (project.path / "plugins/first.table").unlink()
    elif what == "another":
        project.write("plugins/notes.txt", "something")
        project.write("plugins/more.txt", "else")
    else:
        path = project.path / "plugins/first.table"
        os.link(path, project.path / "linked")
        path.chmod(0o600)


def run_and_edit(project: Folder, what: str) -> str:
    process = project.start("run", "p.yaml", "--json")
    deadline = time.monotonic() + 30
    while not project.trace():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    edit(project, what)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0, out
    return error.decode()


@pytest.mark.parametrize("what", ["written", "put back", "new", "gone"])
def test_what_may_be_of_neither_state_is_used_and_not_found_again(
    finder: Folder, what: str
) -> None:
    pipeline(finder, 1.5)
    assert DOUBTFUL in run_and_edit(finder, what)
    plan = finder.edgepipe("plan", "p.yaml", "--check")
    assert plan.code == 4
    # Nor is it found where all is as it was before the edit.
    finder.write("plugins/first.table", "10")
    (finder.path / "plugins/second.table").unlink(missing_ok=True)
    assert finder.edgepipe("plan", "p.yaml", "--check").code == 4
    before = len(finder.trace())
    assert finder.edgepipe("run", "p.yaml").code == 0
    assert len(finder.trace()) > before
    assert finder.edgepipe("plan", "p.yaml", "--check").code == 0
    assert finder.edgepipe("cache", "verify").code == 0


@pytest.mark.parametrize("what", ["another", "linked"])
def test_what_the_code_does_not_read_does_not_matter(finder: Folder, what: str) -> None:
    pipeline(finder, 1.0)
    assert DOUBTFUL not in run_and_edit(finder, what)
    assert finder.edgepipe("plan", "p.yaml", "--check").code == 0


CHAIN = """
edgepipe: 1
name: p
stages:
  r: {uses: finder, with: {seconds: 1.0}}
  s: {uses: finder, in: {values: r}}
"""


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("comment", [True, False])
def test_what_is_edited_before_a_node_begins_and_holds_the_same_again_does_not_matter(
    finder: Folder, back: bool, comment: bool
) -> None:
    finder.write("p.yaml", CHAIN)
    process = finder.start("run", "p.yaml", "--json")
    while not finder.trace():
        assert process.poll() is None
        time.sleep(0.02)
    edit(finder, "put back" if back else "written")
    if comment:
        finder.write("plugins/finder.py", f"# A comment, so that code is read anew.\n{FINDER}")
    error = process.communicate(timeout=30)[1].decode()
    # That the first had read it before, nobody knows.
    assert error.count(DOUBTFUL) == (1 if back else 2)
    text = "what its code may read changed while it ran last"
    plan = finder.edgepipe("plan", "p.yaml").out
    assert plan.count(text) == (1 if back else 0), plan


@pytest.mark.parametrize("name", ["second.table", "notes.more"])
def test_a_crash_leaves_no_checkpoint_of_a_file_that_came_meanwhile(
    finder: Folder, name: str
) -> None:
    begin = finder.path.parent / "begin"
    body = FINDER.replace(
        "        total =",
        "        trace(ctx, 'begin')\n"
        f"        while not Path({str(begin)!r}).exists():\n            time.sleep(0.02)\n        total =",
    ).replace(
        "        time.sleep(self.seconds)\n",
        "        (ctx.scratch / 'total').write_text(str(total))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    finder.write(
        "plugins/finder.py", body.replace("import time", "import os\nimport signal\nimport time", 1)
    )
    finder.write("p.yaml", CHAIN.rpartition("  s:")[0])
    process = finder.start("run", "p.yaml")
    while not finder.trace("begin"):
        assert process.poll() is None
        time.sleep(0.02)
    finder.write(f"plugins/{name}", "5")
    begin.touch()
    process.communicate(timeout=30)
    assert process.returncode == 1
    kept = [path.name for path in (finder.cache / "scratch").glob("*/*")]
    assert kept == ([] if name == "second.table" else ["total"])


def test_code_that_is_edited_after_its_import_does_not_fail_a_node_whose_files_are_touched(
    finder: Folder,
) -> None:
    finder.write("plugins/_helper.py", "ONE = 1\n")
    body = FINDER.replace("from _values", "from _helper import ONE\nfrom _values")
    finder.write("plugins/finder.py", body.replace("[total]", "[total * ONE]"))
    finder.write("p.yaml", CHAIN.rpartition("  s:")[0])
    process = finder.start("run", "p.yaml")
    while not finder.trace():
        assert process.poll() is None
        time.sleep(0.02)
    finder.write("plugins/_helper.py", "ONE = 2\n")
    finder.write("plugins/first.table", "10")
    finder.write("plugins/finder.py.bak", body)
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, out
    assert f"plugins/first.table {DOUBTFUL}" in out


def test_a_stage_that_writes_beside_itself_is_no_failure(finder: Folder) -> None:
    body = FINDER.replace('trace(ctx, "end")', 'HERE.joinpath("made.table").write_text("1")')
    finder.write("plugins/finder.py", body)
    pipeline(finder, 0)
    for _ in range(2):
        done = finder.edgepipe("run", "p.yaml")
        assert done.code == 0, done.err
        assert f"plugins/made.table {DOUBTFUL}" in done.out


def test_what_may_be_of_neither_state_is_not_given_to_the_team(
    finder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = tmp_path / "team"
    monkeypatch.setenv("EDGEPIPE_REMOTE", str(team))
    pipeline(finder, 1.5)
    assert DOUBTFUL in run_and_edit(finder, "written")
    # The node after it was made of what is known.
    assert len([path for path in (team / "records").rglob("*") if path.is_file()]) == 1
