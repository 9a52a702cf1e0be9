"""``cache push`` and ``cache pull``: between the cache and the remote that a team shares."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgepipe.cli._common import Compiled, add_json, compile_pipeline, print_json
from edgepipe.cli._parser import add_cache
from edgepipe.errors import ConfigError
from edgepipe.planner.fitting import fits
from edgepipe.project import Project
from edgepipe.remote import Remote, RemoteError
from edgepipe.store import Record, Store

_SHORTEST_KEY = 6
_CHUNK = 64


def configure_push(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``cache push``."""
    parser.add_argument(
        "what",
        nargs="*",
        metavar="PIPELINE|KEY",
        help="a YAML file: all its cached nodes; a key or how it begins; without any: the whole cache",
    )
    _common(parser)


def configure_pull(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``cache pull``."""
    parser.add_argument(
        "pipeline",
        nargs="?",
        type=Path,
        help="the YAML file; without one: all that the remote has",
    )
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="override a value"
    )
    parser.add_argument("--project", type=Path, default=Path(), metavar="DIR", help="whose remote")
    add_cache(parser)
    add_json(parser)


def push(options: argparse.Namespace) -> int:
    """Upload; 1 if something could not be."""
    pipelines = [Path(name) for name in options.what if Path(name).suffix in {".yaml", ".yml"}]
    keys = [name for name in options.what if Path(name) not in pipelines]
    lost = 0
    compiled = [_compiled(path, options) for path in pipelines]
    project = compiled[0].project if compiled else _project(options)
    store: Store = compiled[0].planner.store if compiled else Store(project.cache)
    records = {r.key: r for one in compiled for r in _cached(one)}
    if keys or not options.what:
        chosen = _matching(keys, store) if keys else list(store.records.keys())
        records |= {key: record for key in chosen if (record := store.record(key)) is not None}
        lost = len(set(chosen) - records.keys())
    with _remote(project, options) as remote:
        if not remote.writable:
            remote.push([], store)
        counts = {"uploaded": 0, "there": 0, "failed": 0, "unsigned": 0}
        todo = list(records.values())
        with _Progress("pushed", len(todo), remote, options) as progress:
            for some in _chunks(todo):
                for outcome in remote.push(some, store).values():
                    counts[outcome] += 1
                progress.add(len(some))
    said = f"{counts['uploaded']} uploaded, {counts['there']} there already"
    if lost:
        said += f", {lost} not whole in the cache"
    if counts["unsigned"]:
        said += f", {counts['unsigned']} left out that came unsigned"
    if counts["failed"]:
        said += f", {counts['failed']} failed"
    _finish(remote, {**counts, "lost": lost}, said, options)
    left_out = lost or counts["unsigned"]
    return 1 if counts["failed"] or (left_out and keys) else 0


def pull(options: argparse.Namespace) -> int:
    """Download; 1 if the remote did not answer, or something that it has was refused."""
    compiled = None if options.pipeline is None else _compiled(options.pipeline, options)
    project = compiled.project if compiled else _project(options)
    store: Store = compiled.planner.store if compiled else Store(project.cache)
    counts = {"pulled": 0, "there": 0, "missing": 0}
    with _remote(project, options) as remote:
        if compiled is not None:
            _pull_pipeline(compiled, remote, counts, options)
        else:
            keys = list(remote.keys())
            absent = [key for key in keys if store.record(key) is None]
            counts["there"] = len(keys) - len(absent)
            with _Progress("pulled", len(absent), remote, options) as progress:
                for some in _chunks(absent):
                    counts["pulled"] += len(remote.fetch_many(some, store))
                    progress.add(len(some))
            counts["missing"] = len(absent) - counts["pulled"]
        if counts["pulled"]:
            store.sync()
    said = f"{counts['pulled']} pulled, {counts['there']} there already"
    if counts["missing"]:
        said += f", {counts['missing']} not to be had"
    _finish(remote, counts, said, options)
    return 1 if remote.warnings else 0


def _pull_pipeline(
    compiled: Compiled, remote: Remote, counts: dict[str, int], options: argparse.Namespace
) -> None:
    """Level by level: what a node needs has to be known before its key is."""
    graph, planner = compiled.graph, compiled.planner
    known: dict[str, Record] = {}
    missing = {name: len({s.node for s in n.inputs.values()}) for name, n in graph.nodes.items()}
    ready = [name for name, count in missing.items() if count == 0]
    settled = 0
    with _Progress("pulled", len(graph.nodes), remote, options) as progress:
        while ready:
            level = {}
            for name in ready:
                node = graph.nodes[name]
                inputs = {p: known[s.node].outputs[s.port].tree for p, s in node.inputs.items()}
                level[name] = planner.decide(node, inputs)
            absent = {d.key.digest for d in level.values() if d.key and d.record is None}
            came = remote.fetch_many(sorted(absent), planner.store)
            found = {}
            for name, decision in level.items():
                record = decision.record or (decision.key and came.get(decision.key.digest))
                if record is not None and fits(record, decision.node):
                    found[name] = record
                    counts["there" if decision.record else "pulled"] += 1
            settled += len(level)
            progress.add(len(level))
            known |= found
            ready = []
            for name in found:
                for user in dict.fromkeys(graph.users[name]):
                    missing[user] -= 1
                    if missing[user] == 0:
                        ready.append(user)
    counts["missing"] = len(graph.nodes) - len(known)
    planner.files.save()


def _compiled(path: Path, options: argparse.Namespace) -> Compiled:
    return compile_pipeline(
        argparse.Namespace(pipeline=path, set=options.set, cache=options.cache, until=None)
    )


def _project(options: argparse.Namespace) -> Project:
    from dataclasses import replace

    from edgepipe.project import find

    project = find(options.project)
    return project if options.cache is None else replace(project, cache=options.cache.absolute())


def _cached(compiled: Compiled) -> Iterator[Record]:
    for decision in compiled.planner.plan():
        if decision.record is not None:
            yield decision.record
    compiled.planner.files.save()


def _matching(starts: Sequence[str], store: Store) -> list[str]:
    found = []
    every = list(store.records.keys())
    for start in starts:
        some = [key for key in every if key.startswith(start)]
        if len(start) < _SHORTEST_KEY or not some:
            hint = "edgepipe cache ls shows all keys; a pipeline is named by its .yaml file"
            raise ConfigError(f"the cache has no key that begins with '{start}'", hint)
        found += some
    return found


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


@contextmanager
def _remote(project: Project, options: argparse.Namespace) -> Iterator[Remote]:
    remote = Remote.open(project)
    if remote is None:
        hint = "set url in [remote] of edgepipe.toml, or EDGEPIPE_REMOTE: see docs/shared-cache.md"
        raise ConfigError("the project has no remote", hint)
    if remote.given_up:
        raise RemoteError(
            f"the remote {remote.shown} cannot be used: {remote.given_up}",
            "set EDGEPIPE_SIGNING_KEY to the team's key",
        )
    try:
        yield remote
    finally:
        remote.close()


def _finish(remote: Remote, counts: dict[str, int], said: str, options: argparse.Namespace) -> None:
    warnings = remote.warnings
    if options.json:
        traffic = remote.traffic.as_json()
        print_json({"remote": remote.shown, **counts, "traffic": traffic, "warnings": warnings})
        return
    print(f"{said} ({remote.shown}; {remote.traffic.text()})")
    for text in warnings:
        print(f"warning: {text}", file=sys.stderr)


class _Progress:
    """A line that counts, on a terminal only."""

    def __init__(self, verb: str, total: int, remote: Remote, options: argparse.Namespace) -> None:
        self.verb = verb
        self.total = total
        self.remote = remote
        self.done = 0
        self.shows = sys.stderr.isatty() and not options.json
        self.ended = threading.Event()

    def __enter__(self) -> _Progress:
        if self.shows:
            self.thread = threading.Thread(target=self._show, daemon=True)
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.shows:
            self.ended.set()
            self.thread.join()
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def add(self, number: int) -> None:
        """Count further."""
        self.done += number

    def _show(self) -> None:
        while True:
            line = f"{self.verb} {self.done} of {self.total}: {self.remote.traffic.text()}"
            print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)
            if self.ended.wait(0.2):
                return
