"""What the documents say is so: examples are executed, generated pages are up to date."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def edgepipe(*arguments: str) -> str:
    command = [sys.executable, "-m", "edgepipe", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def test_adding_a_stage_works_as_contributing_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__py*"))
    written = []
    for block in blocks(ROOT / "CONTRIBUTING.md", "python"):
        name = block.split("\n")[0].removeprefix("# ")
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
        written.append(name)
    assert written == [
        "stages/edgepipe_stages/data/subset.py",
        "tests/stages/test_data_subset.py",
    ]
    for name in ("stages/conftest.py", "stage_runs.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests/stages")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'stages'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/stages"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    listed = subprocess.run(
        [sys.executable, "-m", "edgepipe", "stages"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "data.subset" in listed


def test_the_reference_is_up_to_date() -> None:
    expected = edgepipe("stages", "--format", "markdown")
    assert (ROOT / "docs/reference.md").read_text() == expected, (
        "run: edgepipe stages --format markdown > docs/reference.md"
    )


def test_the_schema_for_editors_is_up_to_date() -> None:
    expected = json.loads(edgepipe("schema"))
    assert json.loads((ROOT / "configs/pipeline.schema.json").read_text()) == expected, (
        "run: edgepipe schema > configs/pipeline.schema.json"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    targets += re.findall(r'(?:src|href|srcset)="([^"#]+)"', page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_verbs_that_are_there(page: Path) -> None:
    from edgepipe.cli import VERBS

    verbs = set(re.findall(r"^\s*edgepipe ([a-z]+)", "\n".join(blocks(page, "sh")), re.M))
    assert verbs <= set(VERBS)


def test_every_shipped_pipeline_is_right() -> None:
    pipelines = sorted(map(str, (ROOT / "pipelines").glob("*.yaml")))
    assert pipelines
    assert json.loads(edgepipe("validate", *pipelines, "--json"))["ok"]


def test_every_fault_is_a_test() -> None:
    text = (ROOT / "docs" / "faults.md").read_text()
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?` \|$", text, re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(named) == len(rows) > 40
    for file, test in named:
        body = (ROOT / "tests" / file).read_text()
        assert f"def {test or 'test_'}" in body, f"{file}::{test}"
