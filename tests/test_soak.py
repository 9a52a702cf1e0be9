"""benchmarks/soak.py still works; by hand it goes on for thousands of kills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "soak.py"


@pytest.mark.heavy
def test_a_few_kills_do_no_harm(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "8", "--seed", "3", "--json", figures],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["kills"] == sum(found["phases"].values()) == sum(found["victims"].values()) == 8
    assert found["runs_checked"] >= 1
    assert found["outputs_checked"] == 12 * found["runs_checked"]
    assert [found[name] for name in ("wrong", "by_hand", "leaked", "damaged")] == [0, 0, 0, 0]
    assert found["failures"] == []
