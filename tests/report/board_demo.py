"""Plays a run on a board in a terminal: ``board_demo.py SAMPLE SECONDS [interrupt]``."""

from __future__ import annotations

import sys
import time

import report_samples
from test_lines import Clock, events

from edgepipe.report.board import Board


def main() -> None:
    name, seconds, *rest = sys.argv[1:]
    run = getattr(report_samples, name)()
    told = list(events(run, Clock()))
    with Board(sys.stdout) as board:
        for event in told[: len(told) // 3] if rest else told:
            board(event)
            time.sleep(float(seconds) / len(told))
        if rest:
            raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
    print("what follows")
