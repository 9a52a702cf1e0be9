from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from projects import GOLDEN, Golden
from report_nodes import node
from report_pipeline import sample
from report_samples import HOSTILE, cached, failing, hostile, large

from edgepipe.report.table import render
from edgepipe.report.text import width
from edgepipe.results import RunResult

FOLDER = GOLDEN / "report"


@pytest.mark.parametrize(
    ("name", "run", "columns", "unicode"),
    [
        ("table_100", sample(), 100, True),
        ("table_80", failing(), 80, True),
        ("table_ascii", failing(), 100, False),
    ],
)
def test_word_for_word(
    name: str, run: RunResult, columns: int, unicode: bool, golden: Golden
) -> None:
    golden(FOLDER / f"{name}.txt", render(run, columns, unicode))


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("run", [sample(), cached(), failing(), large(4)])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_longer_than_the_terminal(run: RunResult, columns: int, unicode: bool) -> None:
    text = render(run, columns, unicode)
    assert max(map(width, text.splitlines())) <= columns
    assert text.isascii() or unicode


def test_every_node_has_a_row_and_every_plug_in_metric_a_place() -> None:
    run = sample()
    mine = node("mine", "plugin.mine", 1.0, metrics={"goodness": 0.25, "texture_bytes": 2048.0})
    text = render(replace(run, nodes=(*run.nodes, mine)))
    rows = [line.split()[0] for line in text.split("\n\n")[0].splitlines()[1:]]
    assert rows == [n.name for n in (*run.nodes, mine)]
    assert "goodness 0.25 · texture 2.05 kB" in text or "texture bytes 2.05 kB" in text


def test_nothing_in_a_run_can_steer_the_terminal() -> None:
    text = render(hostile())
    assert HOSTILE in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert all(line.isprintable() for line in text.splitlines())
    text.encode()


def test_an_empty_run() -> None:
    run = replace(sample(), nodes=(), gates=(), status="interrupted")
    assert render(run) == "mobilenet_int8: interrupted in 3 min 18 s · 0 nodes\n"


def test_names_that_are_too_long_are_shortened_not_the_numbers() -> None:
    run = sample()
    nodes = tuple(replace(n, name=n.name * 5) for n in run.nodes if n.name == "teacher")
    text = render(replace(run, nodes=nodes), 60)
    assert "teac" in text
    assert "…" in text
    assert "99.33 %" in text
    assert max(map(width, text.splitlines()[:2])) <= 60


def test_a_warm_run_of_300_nodes_prints_in_milliseconds() -> None:
    run = large()
    best = min(_timed(run) for _ in range(5))
    assert len(run.nodes) == 298
    assert best < 0.15, "usually 15 ms"


def _timed(run: RunResult) -> float:
    start = time.process_time()
    render(run)
    return time.process_time() - start


def test_printing_a_table_imports_nothing_that_is_slow() -> None:
    code = (
        "import sys; import edgepipe.report.table, edgepipe.report.lines, edgepipe.report.html;"
        "print([m for m in ('rich', 'networkx', 'pydantic', 'yaml', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_golden_tables_are_the_ones_that_are_tested() -> None:
    assert {path.name for path in Path(FOLDER).glob("table*")} == {
        "table_100.txt",
        "table_80.txt",
        "table_ascii.txt",
    }
