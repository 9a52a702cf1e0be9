"""Temporary files that libraries write: a kill leaves none for longer than to the next run."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest
from projects import Folder

LITTER = '''\
"""litter: writes temporary files as converters do, and is killed or not."""

import os
import signal
import subprocess
import tempfile
import time

from edgepipe.stage import Context, Folder, Stage


class Litter(Stage):
    """Leaves temporary files."""

    outputs = {"out": Folder}
    how: str = "end"

    def run(self, ctx: Context) -> None:
        made = tempfile.mkdtemp()
        # What is no Python goes by the variable.
        subprocess.run(["mktemp", "-d"], check=True, stdout=subprocess.DEVNULL)
        (ctx.output("out") / "place").write_text(os.path.dirname(made))
        (ctx.project / "began").touch()
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "sleep":
            time.sleep(60)
'''


@pytest.fixture
def temporary(project: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project.write("plugins/litter.py", LITTER)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def pipeline(project: Folder, how: str) -> None:
    project.write(
        "p.yaml", f"edgepipe: 1\nname: p\nstages: {{a: {{uses: litter, with: {{how: {how}}}}}}}\n"
    )


def left(temporary: Path) -> list[Path]:
    """Folders of processes; that of the user stays, empty."""
    assert [path.name for path in temporary.iterdir()] in ([], [f"edgepipe-{os.getuid()}"])
    return list(temporary.glob("*/*"))


@pytest.mark.parametrize(("how", "code"), [("end", 0), ("killed", 1)])
def test_a_run_leaves_nothing(project: Folder, temporary: Path, how: str, code: int) -> None:
    pipeline(project, how)
    assert project.edgepipe("run", "p.yaml").code == code
    assert left(temporary) == []
    assert stat.S_IMODE((temporary / f"edgepipe-{os.getuid()}").stat().st_mode) == 0o700


@pytest.mark.parametrize("again", ["end", "cached"])
def test_the_next_run_clears_what_a_kill_left(project: Folder, temporary: Path, again: str) -> None:
    pipeline(project, "end")
    if again == "cached":
        assert project.edgepipe("run", "p.yaml").code == 0
        assert project.edgepipe("run", "p.yaml").code == 0
    (project.path / "began").unlink(missing_ok=True)
    project.write(
        "other.yaml", "edgepipe: 1\nname: o\nstages: {a: {uses: litter, with: {how: sleep}}}\n"
    )
    process = project.start("run", "other.yaml")
    while not (project.path / "began").exists():
        assert process.poll() is None
        time.sleep(0.02)
    # While it lives, nobody takes its files away.
    assert project.edgepipe("run", "p.yaml").code == 0
    assert len(left(temporary)) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(left(temporary)) == 1
    done = project.edgepipe("run", "p.yaml")
    assert done.code == 0
    assert ("nothing to run" in done.out) or again == "end"
    assert left(temporary) == []


def test_a_folder_that_is_open_to_others_is_not_used(project: Folder, temporary: Path) -> None:
    theirs = temporary / f"edgepipe-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    pipeline(project, "end")
    assert project.edgepipe("run", "p.yaml").code == 0
    assert list(theirs.iterdir()) == []
    assert list(temporary.iterdir()) == [theirs]


def test_without_a_place_for_them_stages_run_all_the_same(
    project: Folder, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / f"edgepipe-{os.getuid()}").write_text("a file")
    project.write("p.yaml", "edgepipe: 1\nname: p\nstages: {a: {uses: numbers}}\n")
    assert project.edgepipe("run", "p.yaml").code == 0
