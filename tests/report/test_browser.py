"""The report in a real browser: nothing overflows, no error, what a click does."""

from __future__ import annotations

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from report_pipeline import sample
from report_samples import cached, failing, hostile, large

from edgepipe.report.html import render

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium on PATH: apt-get install chromium"
)

PROBE = """<!doctype html><title>probe</title>
<iframe id="phone" src="report.html" style="width:390px;height:800px;border:0"></iframe>
<iframe id="desk" src="report.html" style="width:1280px;height:900px;border:0"></iframe>
<pre id="found"></pre>
<script>
const look = (id) => {
  const frame = document.getElementById(id), view = frame.contentWindow, page = view.document;
  const box = (element) => element.getBoundingClientRect();
  const shown = (selector) => [...page.querySelectorAll(selector)].filter((e) => box(e).width);
  const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const labels = shown("svg .label").map(box);
  const rows = [...page.querySelectorAll("table.sortable")].at(-1);
  const times = () => [...rows.tBodies[0].rows].map((row) => row.cells[2].dataset.v);
  const before = times();
  rows.tHead.rows[0].cells[2].querySelector("button").click();
  const up = times();
  rows.tHead.rows[0].cells[2].querySelector("button").click();
  const bubble = shown(".bubble")[0];
  if (bubble) bubble.dispatchEvent(new view.PointerEvent("pointerover", {bubbles: true}));
  const tip = page.getElementById("tip").hidden ? null : page.getElementById("tip").textContent;
  const radio = page.getElementById("view-latency");
  const bySize = shown(".by-0").length;
  if (radio) radio.click();
  return {
    width: view.innerWidth, scroll: page.documentElement.scrollWidth,
    plots: shown("svg.plot").length,
    clashes: labels.flatMap((a, i) => labels.slice(i + 1).filter((b) => meet(a, b))).length,
    outside: shown("svg text").filter((t) => {
      const svg = box(t.ownerSVGElement), own = box(t);
      return own.left < svg.left - 1 || own.right > svg.right + 1;
    }).map((t) => t.textContent),
    clipped: shown(".graph g g").filter((g) => {
      const frame = box(g.querySelector("rect"));
      return [...g.querySelectorAll("text")].some((t) => box(t).right > frame.right);
    }).map((g) => g.textContent),
    before, up, down: times(),
    tip,
    bySize, afterToggle: shown(".by-0").length + 10 * shown(".by-1").length,
    dark: getComputedStyle(page.body).backgroundColor,
  };
};
addEventListener("load", () => {
  let found;
  try { found = {phone: look("phone"), desk: look("desk")}; }
  catch (error) { found = {error: String(error.stack)}; }
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>
"""


def open_page(folder: Path, page: str, *options: str) -> dict[str, Any]:
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "probe.html").write_text(PROBE, encoding="utf-8")
    assert BROWSER is not None
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}",
        "--allow-file-access-from-files", "--enable-logging=stderr", "--window-size=1400,900",
        "--virtual-time-budget=4000", *options, "--dump-dom", f"file://{folder / 'probe.html'}",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    found = done.stdout.partition('<pre id="found">')[2].partition("</pre>")[0]
    result: dict[str, Any] = json.loads(unescape(found))
    assert "error" not in result, result["error"]
    return result


@pytest.mark.parametrize("name", ["sample", "cached", "failing", "hostile", "large"])
def test_a_page(name: str, tmp_path: Path) -> None:
    run = {
        "sample": sample, "cached": cached, "failing": failing, "hostile": hostile, "large": large,
    }[name]()  # fmt: skip
    found = open_page(tmp_path, render(run))
    for screen, width in (("phone", 390), ("desk", 1280)):
        seen = found[screen]
        assert seen["width"] == width
        assert seen["scroll"] <= width, "the page must not scroll sideways"
        assert seen["clashes"] == 0, "labels must not overlap"
        assert seen["outside"] == []
        if name != "hostile":
            assert seen["clipped"] == []
        assert seen["tip"]
        assert (seen["bySize"], seen["afterToggle"]) == (1, 10), "the toggle swaps the plots"
        assert seen["before"] == [
            "" if n.status == "skipped" else repr(n.seconds) for n in run.nodes
        ]
        times = [float(t) for t in seen["up"] if t]
        assert times == sorted(times)
        assert [float(t) for t in seen["down"] if t] == sorted(times, reverse=True)
        assert all(t for t in seen["down"][: len(times)]), "empty cells stay at the end"


def test_dark_and_light(tmp_path: Path) -> None:
    page = render(sample())
    light = open_page(tmp_path, page, "--blink-settings=preferredColorScheme=1")
    dark = open_page(tmp_path, page, "--blink-settings=preferredColorScheme=0")
    assert light["desk"]["dark"] == "rgb(247, 247, 245)"
    assert dark["desk"]["dark"] == "rgb(20, 23, 26)"
