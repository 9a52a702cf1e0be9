"""``edgepipe cache``: looking at the store, and clearing it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgepipe.cli._common import print_json
from edgepipe.errors import ConfigError
from edgepipe.units import plural, show

if TYPE_CHECKING:
    from edgepipe.project import Project
    from edgepipe.store import Store
    from edgepipe.store.check import Checked
    from edgepipe.store.collect import Collected

DAMAGED = 5
"""Exit code of ``cache verify`` where something is damaged or missing, and stays so."""


def opened(options: argparse.Namespace) -> tuple[Store, Project]:
    """The store and the project that the arguments name."""
    from edgepipe.project import find
    from edgepipe.store import Store

    project = find(options.project)
    return Store(options.cache.absolute() if options.cache else project.cache), project


def size(value: float) -> str:
    """Bytes, as a person reads them."""
    return show(value, "bytes")


def listing(options: argparse.Namespace) -> int:
    """All records, the last used first."""
    from edgepipe.store.roots import all_roots, pins

    store, _ = opened(options)
    runs = Counter(key for root in all_roots(store) for key in root.keys)
    pinned = pins(store)
    rows: list[dict[str, Any]] = []
    for key in sorted(store.records.keys()):
        record = store.records.peek(key)
        if record is not None:
            rows.append(
                {
                    "key": key,
                    "kind": record.kind,
                    "size": sum(output.size for output in record.outputs.values()),
                    "seconds": record.seconds,
                    "used": store.records.used(key),
                    "runs": runs[key],
                    "pinned": key in pinned,
                }
            )
    rows.sort(key=lambda row: (-row["used"], row["key"]))
    if options.json:
        print_json({"cache": str(store.root), "records": rows})
        return 0
    for row in rows:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["used"]))
        held = ["pinned"] * row["pinned"] + [plural(row["runs"], "run")] * bool(row["runs"])
        line = f"{row['key'][:12]}  {row['kind']:<22} {size(row['size']):>9}  {used}"
        print(f"{line}  {', '.join(held)}".rstrip())
    print(f"{plural(len(rows), 'record')} in {store.root}")
    return 0


def usage(options: argparse.Namespace) -> int:
    """How large the store is."""
    from edgepipe.store.files import size_of
    from edgepipe.store.usage import usage as count

    store, project = opened(options)
    root = os.fspath(store.root)
    found = count(store)
    parts = {
        name: size_of(f"{root}/{name}") for name in ("records", "scratch", "quarantine", "tmp")
    }
    if options.json:
        print_json({"cache": root, "cap": project.cache_size, **vars(found), "others": parts})
        return 0
    cap = f" of at most {size(project.cache_size)}" if project.cache_size else ""
    print(
        f"{size(found.size)}{cap} in {plural(found.objects, 'object')},"
        f" {plural(found.records, 'record')}: {root}"
    )
    rest = (("shared by several kinds", found.shared), ("needed by no record", found.unused))
    for name, taken in (*found.kinds.most_common(), *(row for row in rest if row[1])):
        print(f"  {name:<24}{size(taken):>10}")
    print("beside them")
    for name, taken in parts.items():
        print(f"  {name + '/':<24}{size(taken):>10}")
    if parts["quarantine"]:
        print(f"  {root}/quarantine holds what was damaged: look at it, then remove it")
    return 0


def gc(options: argparse.Namespace) -> int:
    """Remove what nothing holds."""
    from edgepipe.store.collect import collect
    from edgepipe.store.roots import KEEP_RUNS
    from edgepipe.units import parse_size

    store, _ = opened(options)
    keep_runs = KEEP_RUNS if options.keep_runs is None else options.keep_runs
    if keep_runs < 0:
        raise ConfigError("--keep-runs must be at least 0")
    cap = None
    if options.max_size is not None:
        try:
            cap = parse_size(options.max_size)
        except ValueError as error:
            message, _, hint = str(error).partition(": ")
            raise ConfigError(f"--max-size: {message}", hint) from None
    found = collect(store, max_size=cap, keep_runs=keep_runs, dry_run=options.dry_run)
    if options.json:
        print_json({"cache": str(store.root), "dry_run": options.dry_run, **vars(found)})
    else:
        print("\n".join(_gc_lines(found, cap, options.dry_run)))
    return 0


def _gc_lines(found: Collected, cap: int | None, dry_run: bool) -> list[str]:
    verb = "would free" if dry_run else "freed"
    freed = found.freed + found.litter_bytes
    what = [
        plural(len(found.records), "record"),
        plural(found.objects, "object"),
        *([f"{plural(found.litter, 'leftover')} of killed processes"] if found.litter else []),
        *([plural(found.locks, "old lock")] if found.locks else []),
    ]
    lines = [f"{verb} {size(freed)}: {', '.join(what)}"]
    kept = f"{plural(found.kept_records, 'record')}, {size(found.kept)}"
    lines.append(f"kept {kept}; runs and pins hold {found.held:,} of them")
    if cap is not None and found.kept > cap:
        lines.append(f"that is more than {size(cap)}: fewer --keep-runs, or unpin, to free more")
    return lines


def verify(options: argparse.Namespace) -> int:
    """Read every object again."""
    from edgepipe.store.check import verify as check

    store, _ = opened(options)
    show_progress, done = _progress()
    try:
        found = check(store, repair=options.repair, progress=show_progress)
    finally:
        done()
    if options.json:
        print_json(
            {
                "cache": str(store.root),
                "objects": found.objects,
                "records": found.records,
                "size": found.size,
                "damaged": [vars(finding) for finding in found.findings],
                "dropped": found.dropped,
                "whole": found.repaired,
            }
        )
    else:
        print("\n".join(_verify_lines(found, options.repair)))
    return 0 if found.repaired else DAMAGED


def _verify_lines(found: Checked, repair: bool) -> list[str]:
    lines = []
    for finding in found.findings:
        lines.append(f"{finding.what} {finding.digest[:12]}  {finding.where}".rstrip())
        if finding.kinds:
            keys = ", ".join(key[:12] for key in finding.breaks)
            lines.append(f"  needed by {', '.join(finding.kinds)} ({keys})")
    read = f"{plural(found.objects, 'object')} ({size(found.size)}) and "
    read += f"{plural(found.records, 'record')} read"
    if not found.findings:
        return [f"{read}: all whole"]
    lines.append(f"{read}: {len(found.findings)} damaged or missing")
    if not repair:
        lines.append(
            "  edgepipe cache verify --repair puts them away; the next run makes them again"
        )
    elif found.repaired:
        dropped = plural(len(found.dropped), "record")
        lines.append(f"  repaired: {dropped} dropped; the next run makes them again")
    else:
        lines.append("  not all could be put away: make the cache writable, then repair again")
    return lines


def _progress() -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """Show how much is read: on one line of a terminal, or in a log every tenth."""
    stream, terminal = sys.stderr, sys.stderr.isatty()
    last = {"tenth": 0, "time": time.monotonic()}

    def tell(done: int, total: int) -> None:
        now, tenth = time.monotonic(), 10 * done // max(total, 1)
        if terminal and (now - last["time"] > 0.1 or done == total):
            print(f"\rread {size(done)} of {size(total)} ", end="", file=stream, flush=True)
            last["time"] = now
        elif not terminal and tenth > last["tenth"] and now - last["time"] > 2:
            print(f"read {size(done)} of {size(total)}", file=stream, flush=True)
            last.update(tenth=tenth, time=now)

    def end() -> None:
        if terminal:
            print("\r\x1b[K", end="", file=stream, flush=True)

    return tell, end
