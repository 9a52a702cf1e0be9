from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

from projects import GOLDEN, Golden
from report_pipeline import sample
from report_samples import failing, hostile

from edgepipe.events import (
    Event,
    GateChecked,
    NodeFinished,
    NodeLog,
    NodeProgress,
    NodeStarted,
    RunFinished,
    RunStarted,
)
from edgepipe.report.lines import Lines
from edgepipe.results import RunResult


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def events(run: RunResult, clock: Clock) -> Iterator[Event]:
    """A run as the runner tells it, one node after the other."""
    yield RunStarted(run.id, run.pipeline, {n.name: n.kind for n in run.nodes}, 2)
    for n in run.nodes:
        if n.status in ("ran", "failed"):
            yield NodeStarted(n.name, n.reason)
            for step in range(5):
                clock.now += n.seconds / 5
                if "history" in n.outputs:
                    numbers = {
                        "loss": 2.3 / (step + 1),
                        "accuracy": 0.9,
                        "images_per_second": 1770.4,
                    }
                    yield NodeProgress(n.name, step + 1, 5, numbers)
        if n.name == "calibration":
            yield NodeLog(n.name, "class 7 has only 3 images", warning=True)
            yield NodeLog(n.name, "said for the log alone")
        yield NodeFinished(n, f"/runs/1/{n.log}" if n.status == "failed" else "")
    for gate in run.gates:
        yield GateChecked(gate)
    yield RunFinished(run, "/runs/1")


def test_word_for_word(golden: Golden) -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock) as listener:
        for event in events(failing(), clock):
            listener(event)
    golden(GOLDEN / "report" / "lines.txt", stream.getvalue())


def test_progress_is_told_every_ten_seconds_a_node() -> None:
    stream, clock = io.StringIO(), Clock()
    listener = Lines(stream, clock)
    listener(NodeStarted("a", ""))
    for second in range(60):
        clock.now = 100.0 + second
        listener(NodeProgress("a", second, 60, {}))
        listener(NodeProgress("b", second, 60, {}))
    lines = [line.split() for line in stream.getvalue().splitlines()[1:]]
    assert [line[0] for line in lines if line[2] == "a"] == ["10.0", "20.0", "30.0", "40.0", "50.0"]
    assert [line[0] for line in lines if line[2] == "b"] == [
        "0.0",
        *(f"{i}0.0" for i in range(1, 6)),
    ]


def test_an_unknown_total_shows_the_numbers_only() -> None:
    stream = io.StringIO()
    Lines(stream)(NodeProgress("a", 3, 0, {"loss": 0.25, "epoch": 3}))
    assert stream.getvalue().split("  ")[-1] == "loss 0.25 epoch 3\n"


def test_each_line_of_an_error_can_be_found_by_its_node() -> None:
    stream = io.StringIO()
    failed = replace(sample().nodes[0], status="failed", error="one\ntwo", seconds=3.25)
    Lines(stream)(NodeFinished(failed, "/runs/1/data.log"))
    tails = [line.split("  ", 1)[1].lstrip() for line in stream.getvalue().splitlines()]
    assert [" ".join(tail.split()) for tail in tails] == [
        "0.0 failed data after 3.25 s",
        "0.0 failed data one",
        "0.0 failed data two",
        "0.0 failed data log: /runs/1/data.log",
    ]


def test_a_stream_of_ascii_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    Lines(stream)(NodeLog("größe", "12 µs → 3 ✓", warning=True))
    assert raw.getvalue().decode().split(maxsplit=2)[2] == "gr\\xf6\\xdfe  12 us -> 3 ok\n"


def test_nothing_in_a_run_can_steer_the_terminal_or_fake_a_line() -> None:
    stream, clock = io.StringIO(), Clock()
    run = hostile()
    listener = Lines(stream, clock)
    for event in events(run, clock):
        listener(event)
    listener(NodeLog("a\nb", "c\r\x1b[2Jd", warning=True))
    lines = stream.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines[-1].split() == ["167.4", "warning", "a", "b", "c\\r\\x1b[2Jd"]
