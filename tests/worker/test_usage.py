"""What a job took is counted from its beginning, with its children."""

from __future__ import annotations

import subprocess
import sys
import time

from edgepipe.worker.usage import Usage

SPIN = "import time\nwhile time.process_time() < 0.3: pass"


def test_times_are_those_since_the_beginning_and_of_children_too() -> None:
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    began = time.perf_counter()
    usage = Usage()
    assert usage.facts()["cpu_seconds"] < 0.2
    subprocess.run([sys.executable, "-c", SPIN], check=True)
    facts = usage.facts()
    assert facts["cpu_seconds"] >= 0.29
    assert facts["seconds"] <= time.perf_counter() - began


def test_memory_that_an_earlier_job_took_is_not_this_ones() -> None:
    usage = Usage()
    taken = b"x" * 200_000_000
    earlier = usage.facts()["peak_memory"]
    assert earlier > len(taken)
    del taken
    assert usage.facts()["peak_memory"] >= earlier - 1_000_000
    assert Usage().facts()["peak_memory"] < earlier - 100_000_000
