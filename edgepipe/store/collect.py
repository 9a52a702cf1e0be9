"""gc: which records and objects nothing holds any longer, and their removal."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgepipe.store import files
from edgepipe.store.files import explained
from edgepipe.store.litter import SCRATCH_DAYS, clean_scratch, remove_locks
from edgepipe.store.model import unpack_record, unpack_tree
from edgepipe.store.roots import KEEP_RUNS, all_roots, pins, sort_out
from edgepipe.store.session import TMP, remove_litter

if TYPE_CHECKING:
    from edgepipe.store import Store


@dataclass
class Collected:
    """What gc removed, or would remove; sizes in bytes."""

    records: list[str] = field(default_factory=list)
    """Keys, in the order of their removal."""
    objects: int = 0
    freed: int = 0
    kept: int = 0
    """Size of all objects that stay."""
    kept_records: int = 0
    held: int = 0
    """Of the records that stay, how many a run or a pin holds."""
    litter: int = 0
    """Entries that dead processes left."""
    litter_bytes: int = 0
    locks: int = 0
    roots: int = 0


@dataclass
class _Item:
    """A record as gc sees it."""

    key: str
    used: float
    objects: frozenset[str]
    """Digests of all that it needs."""


def collect(
    store: Store,
    *,
    max_size: int | None = None,
    keep_runs: int = KEEP_RUNS,
    dry_run: bool = False,
) -> Collected:
    """Remove records that no root holds, then the objects that no record needs.

    Args:
        store: the store; those who use it wait meanwhile.
        max_size: bytes; records go, the least recently used first, until all objects together are
            no larger. Without it, all that no root holds goes.
        keep_runs: how many of the last runs of each pipeline and project hold their records.
        dry_run: only find out.

    Raises:
        StoreError: the store cannot be written.
    """
    result = Collected()
    with store.clearing(), explained(store.root):
        root = os.fspath(store.root)
        keep, dropped = sort_out(list(all_roots(store)), keep_runs)
        holding = set(pins(store)).union(*(r.keys for r in keep))
        result.roots = len(dropped)
        sizes = {
            digest: entry.stat(follow_symlinks=False).st_size
            for digest, entry in files.shards(f"{root}/objects")
        }
        items, useless = _items(store)
        # A tree that a run used, and that its key's record does not name any more.
        needed = {d for tree in holding & sizes.keys() for d in objects_of(store, tree)}
        going = _chosen(items, holding, sizes, max_size, needed)
        gone = {item.key for item in going}
        needed.update(d for item in items if item.key not in gone for d in item.objects)
        result.records = [*useless, *(item.key for item in going)]
        result.kept_records = len(items) - len(going)
        result.held = sum(item.key in holding for item in items)
        # Records first: none may name an object that is gone.
        if not dry_run:
            for old in dropped:
                files.remove(old.path)
            for key in result.records:
                store.records.drop(key)
        for digest, size in sizes.items():
            if digest in needed:
                result.kept += size
                continue
            result.objects += 1
            result.freed += size
            if not dry_run:
                store.objects.drop(digest)
        _litter(store, result, dry_run)
    if not dry_run:
        store.sync(compact=True)
    return result


def evict(store: Store, max_size: int) -> Collected | None:
    """Remove what is beyond a size cap, after a run; None where nothing is beyond it.

    Raises:
        StoreError: the store cannot be written.
    """
    table = f"{os.fspath(store.root)}/objects"
    with explained(store.root):
        # Nobody is kept away: what another run's eviction removes meanwhile has no size.
        size = sum(files.size_of(entry.path) for _, entry in files.shards(table))
    return collect(store, max_size=max_size) if size > max_size else None


def _items(store: Store) -> tuple[list[_Item], list[str]]:
    """All records, and the names of those that cannot be read."""
    items, useless = [], []
    trees: dict[str, frozenset[str]] = {}
    for key, entry in files.shards(f"{os.fspath(store.root)}/records"):
        try:
            record = unpack_record(files.read(entry.path))
        except (OSError, ValueError):
            record = None
        if record is None or record.key != key:
            useless.append(key)
            continue
        objects = set(record.manifests.values())
        for output in record.outputs.values():
            if output.tree not in trees:
                trees[output.tree] = objects_of(store, output.tree)
            objects |= trees[output.tree]
        used = entry.stat(follow_symlinks=False).st_mtime
        items.append(_Item(key, used, frozenset(objects)))
    return items, useless


def objects_of(store: Store, tree: str) -> frozenset[str]:
    """Digests of a tree and of its files, as far as it can be read."""
    with contextlib.suppress(OSError, ValueError):
        body = files.read(os.fspath(store.object_path(tree)))
        return frozenset({tree, *(file.digest for file in unpack_tree(body))})
    return frozenset({tree})


def _chosen(
    items: list[_Item],
    holding: set[str],
    sizes: dict[str, int],
    max_size: int | None,
    needed: set[str],
) -> list[_Item]:
    """The records that go, the least recently used first; the objects that are needed stay."""
    free = sorted((i for i in items if i.key not in holding), key=lambda i: (i.used, i.key))
    if max_size is None:
        return free
    users = Counter(digest for item in items for digest in item.objects)
    users.update(needed)
    total = sum(sizes.get(digest, 0) for digest in users)
    going: list[_Item] = []
    for item in free:
        if total <= max_size:
            break
        going.append(item)
        for digest in item.objects:
            users[digest] -= 1
            if not users[digest]:
                total -= sizes.get(digest, 0)
    return going


def _litter(store: Store, result: Collected, dry_run: bool) -> None:
    root = os.fspath(store.root)
    staged = remove_litter(f"{root}/{TMP}", dry_run=dry_run)
    scratch = clean_scratch(store, SCRATCH_DAYS * 86400, dry_run=dry_run)
    result.litter = staged[0] + scratch[0]
    result.litter_bytes = staged[1] + scratch[1]
    result.locks = remove_locks(store, dry_run=dry_run)
