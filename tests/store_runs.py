"""What tests of clearing the store share: runs that hold records, and how long ago these were used."""

from __future__ import annotations

import os
import time
from pathlib import Path

from storing import key_of

from edgepipe.store import Store


def body(number: int, size: int = 1000) -> dict[str, bytes]:
    return {"a": bytes([number]) * size}


def run(store: Store, project: Path, name: str, *keys: str, pipeline: str = "p") -> None:
    root = store.root_of_run(name, project, pipeline)
    root.add(*keys)
    root.close()
    (project / ".edgepipe" / "runs" / name).mkdir(parents=True, exist_ok=True)


def used(store: Store, name: object, days_ago: float) -> None:
    key = key_of(name)
    moment = time.time() - days_ago * 86400
    os.utime(store.root / "records" / key[:2] / key[2:], (moment, moment))


def there(store: Store) -> set[str]:
    return set(store.records.keys())
