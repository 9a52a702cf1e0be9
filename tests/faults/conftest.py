"""Fixtures of the tests that edit what a stage reads."""

from __future__ import annotations

import pytest
from projects import Folder
from reading import HELPER, READER, pipeline


@pytest.fixture
def reader(project: Folder) -> Folder:
    project.write("plugins/reader.py", READER)
    project.write("plugins/_double.py", HELPER)
    project.write("number.txt", "10")
    pipeline(project)
    return project
