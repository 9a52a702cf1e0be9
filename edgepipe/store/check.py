"""verify: every object is read again, and every record's objects are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgepipe.store import files
from edgepipe.store.files import explained
from edgepipe.store.model import Damage, Record, unpack_record, unpack_tree

if TYPE_CHECKING:
    from edgepipe.store import Store


@dataclass
class Finding:
    """Something that is damaged or missing."""

    digest: str
    """Of the object, or the record's key."""
    what: str
    """``damaged object``, ``missing object`` or ``damaged record``."""
    breaks: list[str] = field(default_factory=list)
    """Keys of the records that need it."""
    kinds: list[str] = field(default_factory=list)
    """Kinds of the stages that made those records."""
    where: str = ""
    """Where it is: in the quarantine, after a repair."""


@dataclass
class Checked:
    """What verify found."""

    objects: int = 0
    records: int = 0
    size: int = 0
    """Bytes that were read."""
    findings: list[Finding] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Keys of the records that a repair took out of use."""
    repaired: bool = False
    """Whether nothing is left that is wrong."""


def verify(
    store: Store,
    *,
    repair: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Read every object again; gc waits meanwhile, runs do not.

    Args:
        store: the store.
        repair: put damaged objects into the quarantine, and with them the records that need what
            is damaged or missing, so that the next run makes it again and can say why.
        progress: told how many bytes of how many are read.

    Raises:
        StoreError: the store cannot be read, or the repair not be written.
    """
    result = Checked()
    with store.using(), explained(store.root):
        root = os.fspath(store.root)
        records = _records(root, result)
        trees = {output.tree for record in records for output in record.outputs.values()}
        sizes = {
            digest: entry.stat(follow_symlinks=False).st_size
            for digest, entry in files.shards(f"{root}/objects")
        }
        result.objects, result.size = len(sizes), sum(sizes.values())
        right = _read_all(store, sizes, trees, progress)
        users = _users(store, records, right)
        kinds = {record.key: record.kind for record in records}
        for digest in sorted(sizes.keys() | users.keys()):
            if digest in right:
                continue
            what = "damaged object" if digest in sizes else "missing object"
            keys = sorted(users.get(digest, ()))
            made_by = sorted({kinds[key] for key in keys})
            where = f"{root}/objects/{digest[:2]}/{digest[2:]}" if digest in sizes else ""
            result.findings.append(Finding(digest, what, keys, made_by, where))
        result.repaired = not result.findings
        if repair and result.findings:
            _repair(store, result)
    store.sync()
    return result


def _records(root: str, result: Checked) -> list[Record]:
    found = []
    for key, entry in files.shards(f"{root}/records"):
        result.records += 1
        try:
            record = unpack_record(files.read(entry.path))
            if record is not None and record.key != key:
                raise ValueError("it bears another key")
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            finding = Finding(key, "damaged record", [key], where=entry.path)
            result.findings.append(finding)
            continue
        if record is not None:
            found.append(record)
    return found


def _read_all(
    store: Store,
    sizes: dict[str, int],
    trees: set[str],
    progress: Callable[[int, int], None],
) -> set[str]:
    """The digests of the objects whose bytes are right."""
    from concurrent.futures import ThreadPoolExecutor

    total, done = sum(sizes.values()), 0
    right = set()

    def check(digest: str) -> tuple[str, bool]:
        return digest, store.objects.right(digest, tree=digest in trees)

    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for digest, is_right in pool.map(check, sizes):
            if is_right:
                right.add(digest)
            done += sizes[digest]
            progress(done, total)
    return right


def _users(store: Store, records: Iterable[Record], right: set[str]) -> dict[str, set[str]]:
    """Object → keys of the records whose outputs need it; a tree that is none is not right."""
    users: dict[str, set[str]] = {}
    inside: dict[str, list[str]] = {}
    for record in records:
        for output in record.outputs.values():
            tree = output.tree
            if tree not in inside:
                inside[tree] = [tree]
                if tree in right:
                    body = files.read(os.fspath(store.object_path(tree)))
                    try:
                        inside[tree] += [file.digest for file in unpack_tree(body)]
                    except ValueError:
                        # Somebody made it so: its bytes are those that its digest says.
                        right.discard(tree)
            for digest in inside[tree]:
                users.setdefault(digest, set()).add(record.key)
    return users


def _repair(store: Store, result: Checked) -> None:
    moved: dict[str, Damage] = {}
    before, store.on_damage = store.on_damage, lambda damage: moved.update({damage.digest: damage})
    try:
        for finding in result.findings:
            # A run may have made it again in the meantime.
            if finding.what == "damaged object" and not store.objects.right(finding.digest):
                store.objects.put_away(finding.digest)
                where = moved[finding.digest].where if finding.digest in moved else ""
                finding.where = where or finding.where
    finally:
        store.on_damage = before
    keys = sorted({key for finding in result.findings for key in finding.breaks})
    for key in keys:
        if store.records.put_away(key):
            result.dropped.append(key)
    result.repaired = all(damage.where for damage in moved.values())
