"""What tests of faults of the shared store use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_fixtures import _credentials, s3  # noqa: F401  fixtures
from teams import Team


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    one = Team(tmp_path)
    yield one
    for opened in one.opened:
        opened.close()
