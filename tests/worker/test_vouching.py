"""The thread that vouches for code beside a running stage."""

from __future__ import annotations

import time
from pathlib import Path

from edgepipe.watch import Watch, state_of
from edgepipe.worker.vouching import Vouching


def test_each_job_is_looked_at_though_the_one_before_was_settled(tmp_path: Path) -> None:
    vouching = Vouching()
    path = tmp_path / "never_imported.py"
    path.write_text("")
    here = __file__
    told: list[list[str]] = []
    for number in range(3):
        code = {here: state_of(here), **({str(path): state_of(str(path))} if number == 1 else {})}
        vouching.begin(Watch({"code": code}), told.append)
        deadline = time.monotonic() + 10
        while len(told) <= number:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        vouching.end()
    assert told == [[here]] * 3


def test_a_job_that_is_over_is_not_looked_at(tmp_path: Path) -> None:
    vouching = Vouching()
    told: list[list[str]] = []
    vouching.begin(Watch({"code": {__file__: state_of(__file__)}}), told.append)
    vouching.end()
    time.sleep(0.3)
    assert told == []
