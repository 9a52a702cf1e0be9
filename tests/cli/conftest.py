"""A small pipeline, for the verbs."""

from __future__ import annotations

import pytest
from mini_pipeline import PIPELINE
from projects import Folder


@pytest.fixture
def mini(project: Folder) -> Folder:
    project.write("mini.yaml", PIPELINE)
    return project
