from __future__ import annotations

import re
import time
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from report_nodes import node
from report_pipeline import sample
from report_samples import HOSTILE, cached, failing, hostile, large

from edgepipe.report.html import render
from edgepipe.results import RunResult

VOID = {"meta", "input", "br"}
RUNS = {
    "sample": sample(),
    "cached": cached(),
    "failing": failing(),
    "hostile": hostile(),
    "large": large(),
    "empty": replace(sample(), nodes=(), gates=(), machine={}, versions={}),
    "one": replace(sample(), nodes=sample().nodes[:1], gates=()),
}


class Page(HTMLParser):
    """The page's elements with their attributes, and its text; checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> RunResult:
    return RUNS[request.param]


def test_the_page_is_well_formed_and_its_ids_are_unique(run: RunResult) -> None:
    page = Page(render(run))
    ids = page.attributes("id")
    assert [i for i, n in Counter(ids).items() if n > 1] == []
    targets = {h[1:] for h in page.attributes("href") if h.startswith("#")}
    assert targets <= set(ids)
    assert set(page.attributes("for")) <= set(ids)


def test_it_needs_no_network_and_runs_no_code_but_its_own(run: RunResult) -> None:
    text = render(run)
    page = Page(text)
    assert Counter(tag for tag, _ in page.elements)["script"] == 1
    assert {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "base"} == set()
    assert page.attributes("src") == []
    assert all(href.startswith(("#", "./")) for href in page.attributes("href"))
    handlers = [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert handlers == []
    (style,) = page.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    (script,) = page.texts["script"]
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_every_node_is_there() -> None:
    for run in (sample(), failing(), large()):
        page = Page(render(run))
        heads = [
            attrs["data-v"] for tag, attrs in page.elements if tag == "th" and "data-v" in attrs
        ]
        assert {node.name for node in run.nodes} <= set(heads)
        rows = [i for i in page.attributes("id") if i.startswith("node-")]
        assert len(rows) == len(run.nodes)
    labels = [a for a in Page(render(sample())).attributes("aria-label") if ": ran" in a]
    assert len(labels) == len(sample().nodes), "each node is in the graph"


def test_a_graph_that_nobody_could_follow_is_not_drawn() -> None:
    run = sample()
    first = run.nodes[0]
    many = tuple(replace(first, name=f"n{i}") for i in range(1000))
    text = render(replace(run, nodes=many))
    assert '<svg class="graph"' not in text
    assert "1,000 nodes are too many to be drawn here" in text
    assert f"edgepipe graph {run.file} --format dot" in text


def test_an_attack_stays_text() -> None:
    text = render(hostile())
    page = Page(text)
    assert HOSTILE not in text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert any(HOSTILE in shown for shown in page.texts["h1"])
    assert not any("javascript:" in href for href in page.attributes("href"))
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode()


def test_what_an_engineer_looks_for() -> None:
    text = render(failing())
    for told in (
        "What failed",
        "the operator GRU cannot be converted (layer rnn/gru_1)",
        'href="./logs/tflite%5Bfloat16%5D.log"',
        "9.8×",
        "smaller: 1.25 MB → 128 kB",
        "135 kB against 100 kB, 34.9 kB (35 %) too much",
        "with 1 thread 34 % of calls took over 1.5 × the fastest",
        "2 of 24 came from the cache",
        "Intel(R) Xeon(R) Platinum 8481C",
        "25.2 GB",
        "2.21.0",
        "validation accuracy",
        "learning rate",
    ):
        assert told in text


def test_metrics_of_a_plug_in_are_shown() -> None:
    run = sample()
    bench = replace(run.nodes[-1], name="mine", metrics={**run.nodes[-1].metrics, "joules": 0.125})
    mine = node("other", "plugin.other", 1.0, metrics={"goodness": 0.75})
    text = render(replace(run, nodes=(*run.nodes, bench, mine)))
    assert '<th scope="col">joules</th>' in text
    assert "<dt>goodness</dt><dd>0.75</dd>" in text


def test_the_same_run_gives_the_same_page() -> None:
    assert render(sample()) == render(RunResult.from_json(sample().as_json()))


def test_size_and_speed() -> None:
    assert len(render(sample()).encode()) < 100_000
    assert len(render(large()).encode()) < 600_000
    assert min(_timed(sample()) for _ in range(5)) < 0.1, "usually 10 ms"


def _timed(run: RunResult) -> float:
    start = time.process_time()
    render(run)
    return time.process_time() - start


def test_more_variants_than_a_box_lists_are_counted() -> None:
    run = large(12)
    failed = [
        replace(n, status="failed", error="") if n.name == "tflite[0.375]" else n for n in run.nodes
    ]
    text = render(replace(run, nodes=tuple(failed)))
    graph = text[
        text.index('<svg class="graph"') : text.index("</svg>", text.index('class="graph'))
    ]
    assert "and 4 more" in graph
    assert "tflite[0.375]: failed" in graph
    assert "no reason was given" in text


def test_many_trainings_are_not_all_drawn() -> None:
    text = render(large())
    assert "and 26 more nodes, which are not drawn" in text
    assert len(re.findall('class="curve ', text)) == 3 * 12
