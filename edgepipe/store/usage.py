"""du: what the store's objects take, each counted once."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgepipe.store import files
from edgepipe.store.collect import objects_of

if TYPE_CHECKING:
    from edgepipe.store import Store


@dataclass
class Usage:
    """Sizes in bytes; those of all kinds, ``shared`` and ``unused`` add up to ``size``."""

    objects: int
    size: int
    records: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind of stage → what only its records need."""
    shared: int = 0
    """What records of several kinds need."""
    unused: int = 0
    """What no record needs."""


def usage(store: Store) -> Usage:
    """What the objects of a store belong to. Raises OSError where it cannot be read."""
    table = f"{os.fspath(store.root)}/objects"
    sizes = {
        digest: entry.stat(follow_symlinks=False).st_size for digest, entry in files.shards(table)
    }
    found = Usage(len(sizes), sum(sizes.values()))
    kinds: dict[str, set[str]] = {}
    for key in sorted(store.records.keys()):
        record = store.records.peek(key)
        if record is None:
            continue
        found.records += 1
        needed = set(record.manifests.values())
        needed.update(*(objects_of(store, output.tree) for output in record.outputs.values()))
        for digest in needed:
            kinds.setdefault(digest, set()).add(record.kind)
    for digest, size in sizes.items():
        users = kinds.get(digest, ())
        if len(users) == 1:
            found.kinds[next(iter(users))] += size
        elif users:
            found.shared += size
        else:
            found.unused += size
    return found
