"""What tests of faults of the shared store use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from remotes import credentials, s3_server
from teams import Team


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    one = Team(tmp_path)
    yield one
    for opened in one.opened:
        opened.close()
