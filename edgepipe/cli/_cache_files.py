"""``edgepipe cache``: carrying results to another machine, and keeping them."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgepipe import runs
from edgepipe.cli._cache import opened, size
from edgepipe.cli._common import print_json
from edgepipe.errors import ConfigError, did_you_mean
from edgepipe.store import Store
from edgepipe.units import plural

_SHORT = 8
"""Digits of a key that are enough to name it."""


def export(options: argparse.Namespace) -> int:
    """Write records and objects into a tar."""
    from edgepipe.store.archive import export as write

    store, project = opened(options)
    if options.nodes or options.run:
        keys = _keys_of_run(project.runs, options.run or "last", options.nodes)
    else:
        keys = list(store.records.keys())
    if not keys:
        raise ConfigError("there is nothing to export", "run a pipeline first")
    moved = write(store, options.file.absolute(), keys)
    if options.json:
        print_json({"file": str(options.file), **vars(moved)})
    else:
        what = f"{plural(moved.records, 'record')}, {plural(moved.objects, 'object')}"
        print(f"{options.file}: {what}, {size(moved.size)}")
    return 0


def take_in(options: argparse.Namespace) -> int:
    """Read a tar into the store."""
    from edgepipe.store.archive import take_in as read

    store, _ = opened(options)
    moved = read(store, options.file)
    if options.json:
        print_json({"file": str(options.file), **vars(moved)})
    else:
        what = f"{plural(moved.records, 'record')}, {plural(moved.objects, 'object')}"
        print(f"{what}, {size(moved.size)}: all right; {moved.new:,} of the records are new here")
    return 0


def pin(options: argparse.Namespace) -> int:
    """Keep results for good, or list what is kept."""
    from edgepipe.store.roots import pin as keep
    from edgepipe.store.roots import pins

    store, project = opened(options)
    for name, key in _named(store, project.runs, options):
        keep(store, key, name)
    found = sorted(pins(store).items(), key=lambda item: (item[1], item[0]))
    if options.json:
        print_json({"pins": [{"key": key, "name": name} for key, name in found]})
        return 0
    for key, name in found:
        print(f"{key[:12]}  {name}")
    if not found:
        print("nothing is pinned")
    return 0


def unpin(options: argparse.Namespace) -> int:
    """Let gc remove results again."""
    from edgepipe.store.roots import pins
    from edgepipe.store.roots import unpin as drop

    store, project = opened(options)
    pinned = pins(store)
    by_name = {name: key for key, name in pinned.items()}
    dropped = []
    for what in options.what:
        matches = [key for key in pinned if len(what) >= _SHORT and key.startswith(what)]
        key = by_name.get(what) or (matches[0] if len(matches) == 1 else None)
        if key is None:
            key = next(iter(_named(store, project.runs, options, [what])))[1]
        if not drop(store, key):
            raise ConfigError(f"'{what}' is not pinned", did_you_mean(what, by_name, "pinned"))
        dropped.append(key)
    if options.json:
        print_json({"unpinned": dropped})
    else:
        print(f"{plural(len(dropped), 'record')} unpinned")
    return 0


def _named(
    store: Store, folder: Path, options: argparse.Namespace, names: list[str] | None = None
) -> list[tuple[str, str]]:
    """(name, key) of what the arguments name: a record's key or its beginning, or a node."""
    found = []
    for what in options.what if names is None else names:
        digits = len(what) >= _SHORT and set(what) <= set("0123456789abcdef")
        matches = (
            [key for key in sorted(store.records.keys()) if key.startswith(what)] if digits else []
        )
        if len(matches) > 1:
            raise ConfigError(f"several records' keys begin with '{what}'", "write more of it")
        if matches:
            record = store.records.peek(matches[0])
            found.append((record.kind if record else what, matches[0]))
        else:
            found += [(what, key) for key in _keys_of_run(folder, options.run, [what])]
    return found


def _keys_of_run(folder: Path, run: str, names: list[str]) -> list[str]:
    """Keys of a run's nodes; of all that have one, if no names are given."""
    _, result = runs.load(folder, run)
    nodes = {node.name: node for node in result.nodes}
    if not names:
        return [node.key for node in nodes.values() if node.key]
    keys = []
    for name in names:
        found = [n for n in nodes if name in {n, n.partition("[")[0]}]
        if not found:
            message = f"run {result.id} has no node '{name}'"
            raise ConfigError(message, did_you_mean(name, nodes, "nodes"))
        for node in found:
            if not nodes[node].key:
                raise ConfigError(f"'{node}' has no result: it {nodes[node].status}")
            keys.append(nodes[node].key)
    return keys
