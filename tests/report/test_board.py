from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from report_pipeline import sample
from report_samples import failing, hostile, large
from rich.console import Console
from test_lines import Clock, events

from edgepipe.cli._telling import _board_when_needed
from edgepipe.events import (
    Event,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeStarted,
    NodeWaits,
    RunStarted,
)
from edgepipe.report.board import Board, clock_time
from edgepipe.results import RunResult

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """A board whose frames are looked at; its clock stands still unless it is moved."""

    def __init__(self, columns: int = 80, rows: int = 24, encoding: str = "utf-8") -> None:
        self.raw = io.BytesIO()
        self.stream = io.TextIOWrapper(self.raw, encoding, newline="")
        self.console = Console(
            file=self.stream, force_terminal=True, width=columns, height=rows, legacy_windows=False
        )
        self.clock = Clock()
        self.board = Board(self.console, self.clock)

    def frame(self) -> list[str]:
        aside = Console(
            file=io.StringIO(), force_terminal=True, width=self.console.width, legacy_windows=False
        )
        with aside.capture() as capture:
            aside.print(self.board._render())
        return [line.rstrip() for line in ANSI.sub("", capture.get()).splitlines()]

    def start(self, run: RunResult, **estimates: float) -> None:
        names = {n.name: n.kind for n in run.nodes}
        self.board(RunStarted(run.id, run.pipeline, names, 2, estimates))

    @property
    def written(self) -> str:
        self.stream.flush()
        return ANSI.sub("", self.raw.getvalue().decode(self.stream.encoding))


@pytest.fixture
def screen() -> Iterator[Callable[..., Screen]]:
    made: list[Screen] = []

    def make(*args: object, **options: object) -> Screen:
        made.append(Screen(*args, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.board.close()


def test_what_is_waited_for_is_shown(screen: Callable[..., Screen]) -> None:
    shown = screen(100, 40)
    shown.start(sample())
    shown.board(NodeWaits("teacher", "fetched from s3://team"))
    shown.board(NodeWaits("cache", "2 results go to s3://team"))
    frame = shown.frame()
    assert [line for line in frame if "teacher" in line and "fetched from s3://team" in line]
    assert frame[-1] == "2 results go to s3://team"
    shown.board(NodeStarted("teacher", ""))
    assert not [line for line in shown.frame() if "fetched from" in line]


@pytest.mark.parametrize(
    ("event", "appears"),
    [(NodeWaits("teacher", "fetched"), True), (NodeLog("teacher", "x", warning=True), False)],
)
def test_a_board_appears_where_a_node_waits(event: Event, appears: bool) -> None:
    stream = io.StringIO()
    listener, close = _board_when_needed(stream)
    listener(RunStarted("r", "p", {"teacher": "train"}, 1, {}))
    listener(event)
    close()
    assert ("teacher" in stream.getvalue() or "waiting" in stream.getvalue()) == appears


def test_nodes_are_listed_with_what_they_took_last_time(screen: Callable[..., Screen]) -> None:
    shown = screen(100, 40)
    shown.start(sample(), teacher=31.2, data=0.0)
    frame = shown.frame()
    assert frame[0].startswith("mobilenet_int8 ")
    assert frame[0].endswith("0/24  0:00")
    assert frame[1] == "· 24 waiting"
    assert [line.split()[1] for line in frame[2:]] == [n.name for n in sample().nodes]
    assert frame[3].split() == ["·", "teacher", "~", "31.2", "s", "train.classifier"]
    assert frame[2].split() == ["·", "data", "data.digits"]


def test_a_running_node_shows_how_far_it_is(screen: Callable[..., Screen]) -> None:
    shown = screen(100, 40)
    shown.start(sample(), **{n.name: 10.0 for n in sample().nodes})
    shown.board(NodeStarted("teacher", "first run"))
    shown.clock.now += 4
    (line,) = [line for line in shown.frame() if "▸ teacher" in line]
    assert line.split()[:4] == ["▸", "teacher", "0:06", "left"]
    assert "40 %" in line
    for done in (10, 30):
        shown.clock.now += 5
        numbers = {"loss": 0.2132, "accuracy": 0.971, "images_per_second": 1770.4}
        shown.board(NodeProgress("teacher", done, 100, numbers))
    (line,) = [line for line in shown.frame() if "▸ teacher" in line]
    assert "0:18 left" in line, "70 more at 5 s for 20"
    assert line.endswith("30 % loss 0.2132  accuracy 97.10 %  1770 images/s")
    assert "about 2:04 left" in shown.frame()[0], "23 nodes of 10 s and 17.5 s, two at once"
    shown.board(NodeProgress("teacher", 5, 0, {}))


def test_numbers_fit_eighty_columns(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    shown.start(sample())
    shown.board(NodeStarted("teacher", ""))
    numbers = {"loss": 0.2132, "accuracy": 0.971, "images_per_second": 1770.4}
    shown.board(NodeProgress("teacher", 1, 100, numbers))
    (line,) = [line for line in shown.frame() if "▸ teacher" in line]
    assert line.endswith("1 % loss 0.2132 acc 97.10 % 1770 img/s")


def test_without_an_estimate_there_is_no_time_left(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    shown.start(sample(), teacher=10.0)
    shown.board(NodeStarted("data", ""))
    shown.clock.now += 61
    frame = shown.frame()
    assert frame[0].endswith("0/24  1:01")
    assert any(line.startswith("▸ data") and "1:01" in line for line in frame)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (40, 10), (200, 5)])
@pytest.mark.parametrize("run", [sample(), failing(), large(), hostile()])
def test_a_frame_fits_the_terminal_at_any_time(
    run: RunResult, columns: int, rows: int, screen: Callable[..., Screen]
) -> None:
    shown = screen(columns, rows)
    told = list(events(run, shown.clock))
    for i, event in enumerate(told[:-1]):
        with shown.board._lock:
            shown.board._state.take(event, shown.clock())
        if i % (len(told) // 12) == 0:
            frame = shown.frame()
            assert len(frame) <= rows - 1, "the row below the board stays free"
            assert all(len(line) <= columns for line in frame)
            assert all(line.isprintable() for line in frame)


def test_many_nodes_collapse_into_counts_and_failures_stay(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    run = large()
    shown.start(run)
    for i, n in enumerate(run.nodes[:200]):
        status = "failed" if i == 3 else "cached" if i < 100 else "ran"
        shown.board(NodeFinished(replace(n, status=status, error="it broke\nin two")))
    shown.board(NodeStarted(run.nodes[250].name, ""))
    frame = shown.frame()
    counts = "· 97 waiting  ▸ 1 running  ✓ 100 done  = 99 cached  ✗ 1 failed"
    assert frame[1] == counts
    names = [line.split()[1] for line in frame[2:-1]]
    assert run.nodes[3].name in names
    assert "it broke" in "\n".join(frame)
    assert run.nodes[199].name in names
    assert run.nodes[250].name in names
    assert run.nodes[200].name in names, "what may come next"
    assert run.nodes[50].name not in names
    assert frame[-1] == f"  and {298 - len(names)} more nodes"


def test_the_end_tells_failures_and_warnings_whole(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    run = failing()
    for event in events(run, shown.clock):
        shown.board(event)
    frame = shown.frame()
    assert frame[0] == "mobilenet_int8  failed after 2 min 47 s"
    assert frame[1] == "✓ 19 done  = 2 cached  ✗ 1 failed  – 2 skipped"
    assert frame[2:] == [
        "✗ tflite[float16] failed",
        "    the operator GRU cannot be converted (layer rnn/gru_1)",
        "    try convert.litert, which takes recurrent layers",
        "    log: /runs/1/logs/tflite[float16].log",
        "! calibration: class 7 has only 3 images",
    ]
    assert shown.written.endswith("\n".join([*frame, ""]))


def test_an_interrupt_leaves_what_was_running(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    shown.start(sample())
    shown.board(NodeStarted("teacher", ""))
    shown.board(NodeProgress("teacher", 45, 100, {}))
    shown.board(NodeStarted("data", ""))
    shown.board(NodeLog("data", "odd\nimage", warning=True))
    shown.board(NodeLog("data", "for the log alone"))
    shown.clock.now += 3.5
    with pytest.raises(KeyboardInterrupt), shown.board:
        raise KeyboardInterrupt
    shown.board.close()
    frame = shown.frame()
    assert frame[0] == "mobilenet_int8  interrupted after 3.50 s"
    assert frame[2:] == [
        "▸ data was stopped",
        "▸ teacher was stopped at 45 %",
        "! data: odd image",
    ]
    assert shown.written.count("was stopped at 45 %") == 1


def test_the_latest_warning_is_shown(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    shown.start(sample())
    for text in ("first", "second " * 40):
        shown.board(NodeLog("data", text, warning=True))
    assert shown.frame()[-1].startswith("! data: second second")
    assert len(shown.frame()[-1]) == 80


def test_a_node_that_was_not_announced(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24)
    shown.board(NodeStarted("late", ""))
    assert any(line.startswith("▸ late") for line in shown.frame())


def test_ascii_where_that_is_all_there_is(screen: Callable[..., Screen]) -> None:
    shown = screen(80, 24, "ascii")
    for event in events(failing(), shown.clock):
        shown.board(event)
    assert "+ 19 done  = 2 cached  x 1 failed  - 2 skipped" in shown.written


def test_closing_a_board_that_never_began_writes_nothing(screen: Callable[..., Screen]) -> None:
    shown = screen()
    shown.board.close()
    assert shown.written == ""


def test_a_narrower_terminal_starts_afresh(screen: Callable[..., Screen]) -> None:
    shown = screen(120, 40)
    shown.start(sample())
    shown.console.width = 70
    shown.board._live.refresh()
    shown.stream.flush()
    assert b"\x1b[H\x1b[2J" in shown.raw.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(7, "0:07"), (750, "12:30"), (3723, "1:02:03"), (-1, "0:00")]
)
def test_clock_time(value: float, text: str) -> None:
    assert clock_time(value) == text


TMUX = shutil.which("tmux")


@pytest.mark.skipif(TMUX is None, reason="no tmux on PATH: apt-get install tmux")
@pytest.mark.parametrize(("name", "rest"), [("failing", ""), ("sample", "interrupt")])
def test_in_a_real_terminal(name: str, rest: str, tmp_path: Path) -> None:
    def tmux(*arguments: str) -> str:
        command = [TMUX or "", "-S", str(tmp_path / "tmux"), "-f", "/dev/null", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    ours = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment = {**ours, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PYTHONPATH": "tests"}
    demo = Path(__file__).with_name("board_demo.py")
    seen = []
    run = f"{sys.executable} {demo} {name} 3 {rest}; sleep 60"
    tmux("new-session", "-d", "-s", "board", "-x", "80", "-y", "24", run)
    try:
        for _ in range(150):
            time.sleep(0.1)
            seen.append(tmux("capture-pane", "-p", "-t", "board"))
            if "what follows" in seen[-1]:
                break
    finally:
        tmux("kill-server")
    last = [line.rstrip() for line in seen[-1].splitlines() if line.strip()]
    assert any("▸" in screen and "waiting" in screen for screen in seen)
    assert last[-1] == "what follows"
    assert last[0].startswith(f"mobilenet_int8  {'interrupted' if rest else 'failed'} after")
    assert not any("waiting" in line for line in last[2:]), "nothing of the board is left"
    if not rest:
        assert "    log: /runs/1/logs/tflite[float16].log" in last
