from __future__ import annotations

import re
from dataclasses import replace

import pytest
from projects import GOLDEN, Golden
from report_pipeline import sample
from report_samples import cached, failing, hostile, large

from edgepipe.report.markdown import escape, render, table
from edgepipe.results import RunResult


def test_word_for_word(golden: Golden) -> None:
    golden(GOLDEN / "report" / "summary.md", render(failing()))


@pytest.mark.parametrize("run", [sample(), cached(), failing(), hostile(), large(3)])
def test_every_row_has_the_cells_of_its_head(run: RunResult) -> None:
    blocks = [b for b in render(run).split("\n\n") if b.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1
    assert len(blocks[-1].splitlines()) == len(run.nodes) + 2


def test_an_attack_stays_text() -> None:
    text = render(hostile())
    told = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert set(re.findall(r"<[^>]*>", told)) == {
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
    }
    assert not re.search(r"(?<!\\)(\]\(|`|\*(?!\*))", told.replace("**", ""))
    text.encode()


def test_escape() -> None:
    assert escape("a_b*c|d <e> @f http://g") == "a\\_b\\*c\\|d &lt;e> &#64;f http&#58;//g"


def test_columns_without_a_value_go() -> None:
    assert table(["a", "b"], "lr", [["x", ""], ["y", ""]]).splitlines() == [
        "| a |", "| :-- |", "| x |", "| y |",
    ]  # fmt: skip


def test_an_empty_run() -> None:
    run = replace(sample(), nodes=(), gates=(), status="interrupted")
    assert render(run).startswith("## – mobilenet\\_int8\n\ninterrupted in 3 min 18 s · 0 nodes\n")
