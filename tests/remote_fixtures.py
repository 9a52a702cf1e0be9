"""What tests of the shared store use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from remotes import credentials, s3_server

from edgepipe.remote import Remote

Open = Callable[..., Remote]


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)
