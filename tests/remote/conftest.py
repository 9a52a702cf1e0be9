"""Two stores, and a remote in a folder and in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from remote_fixtures import Open, _credentials, s3  # noqa: F401  fixtures
from remotes import bucket, remote

from edgepipe.remote import Remote
from edgepipe.store import Store


@pytest.fixture(params=["folder", "s3"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one and the same remote, again and again."""
    settings: dict[str, Any] = {}
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3")
        url, _ = bucket(endpoint)
        settings["endpoint"] = endpoint
    else:
        url = str(tmp_path / "shared")
    opened: list[Remote] = []

    def open_it(**more: Any) -> Remote:
        opened.append(remote(tmp_path / "project", url, **settings, **more))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return Store(tmp_path / "mine"), Store(tmp_path / "theirs")
