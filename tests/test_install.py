"""A wheel holds all that is needed outside of a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.heavy
def test_a_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(built, check=True, timeout=300)
    [wheel] = tmp_path.glob("edgepipe-*.whl")
    site = tmp_path / "site"
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    # What is installed here for editing stays behind on the path.
    env = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str, folder: Path = tmp_path) -> str:
        command = [sys.executable, "-P", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("-c", "import edgepipe, edgepipe_stages as s; print(edgepipe.__file__, s.__file__)")
    assert where.count(str(site)) == 2
    run("-m", "edgepipe", "init", "demo")
    demo = tmp_path / "demo"
    assert "right" in run("-m", "edgepipe", "validate", "pipelines/digits_int8.yaml", folder=demo)
    kinds = run("-m", "edgepipe", "stages", folder=demo)
    assert "data.noisy" in kinds
    assert "convert.tflite" in kinds
    # The starter project's cheap part runs.
    until = ["run", "pipelines/digits_int8.yaml", "--until", "data"]
    assert "data" in run("-m", "edgepipe", *until, folder=demo)
