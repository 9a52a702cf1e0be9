"""A project with a small locked environment, and the wheels that it is built of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from projects import Folder
from tiny_environments import PIPELINE, TINY, lock_of, make_wheels, relock

LOCKS: dict[str, str] = {}
"""What `TINY` is locked to: the same for all tests."""


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all that pip knows of."""
    folder = tmp_path / "wheels"
    make_wheels(folder)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(project: Folder, wheels: Path) -> Folder:
    """A project with the environment ``tiny``, locked and not built."""
    project.write("configs/envs/tiny.toml", TINY)
    project.write("p.yaml", PIPELINE)
    if "tiny" in LOCKS:
        lock_of(project).write_text(LOCKS["tiny"])
    else:
        relock(project)
        LOCKS["tiny"] = lock_of(project).read_text()
    return project
