"""What a node's result depends on, and which part of that changed."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edgepipe.digest import canonical, digest_bytes, digest_value
from edgepipe.errors import ConfigError, Problem
from edgepipe.fingerprint import Code
from edgepipe.graph import GraphNode
from edgepipe.sources import Resolved

VERSION = 1
"""Changes when the engine changes what a stage is given."""


@dataclass(frozen=True)
class Key:
    """A node's key, and the plain data that it digests."""

    digest: str
    made_of: Mapping[str, Any]


def key_of(node: GraphNode, resolved: Resolved, code: str, inputs: Mapping[str, str]) -> Key:
    """The key of a node.

    Args:
        node: the node.
        resolved: its parameters.
        code: digest of the code that it reaches (`code_digest`).
        inputs: input port → digest of the tree that feeds it.

    Raises:
        ConfigError: a distribution that the stage requires is not installed.
    """
    made_of = {
        "version": VERSION,
        "kind": node.kind.name,
        "code": code,
        "params": resolved.for_key,
        "contents": resolved.contents,
        "inputs": dict(inputs),
        "requires": requirements(node),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    if node.environment is not None and node.environment.lock is not None:
        made_of["environment"] = node.environment.lock.digest
        made_of["python"] = node.environment.python
    if node.stage.seeded:
        made_of["seed"] = node.seed
    if node.stage.measures:
        made_of["machine"] = machine()
    return Key(digest_value("key", made_of), made_of)


def code_digest(code: Code) -> tuple[str, bytes]:
    """One digest for a fingerprint, and the bytes that it digests."""
    body = canonical(dict(code))
    return digest_bytes("code", body), body


def requirements(node: GraphNode) -> dict[str, str]:
    """Installed versions of what a stage requires; those that are locked, in an environment."""
    versions = {}
    for name in node.stage.needs():
        environment = node.environment
        version = installed(name) if environment is None else environment.version(name)
        if version is None:
            message = f"{node.kind.name} requires {name}, which is not installed"
            hint = f"install it: pip install {name}   (edgepipe doctor shows all)"
            if environment is not None:
                message = (
                    f"{node.kind.name} requires {name}, which the environment"
                    f" '{environment.name}' does not hold"
                )
                hint = f"add it to {environment.path.name}: edgepipe env lock {environment.name}"
            raise ConfigError(Problem(message, hint, node.place))
        versions[name] = version
    return versions


@functools.cache
def installed(name: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def machine() -> dict[str, str | int]:
    """What a measurement depends on: processor, cores that may be used, system."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or sys.platform
    names = {"model name", "cpu family", "model", "stepping", "Hardware", "CPU part"}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() in names:
            found.setdefault(name.strip(), value.strip())
    return ", ".join(f"{name} {found[name]}" for name in sorted(found))


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two keys' data, a line each: ``params.temperature: 4.0 → 3.0``."""
    for path in sorted({*_flat(old), *_flat(new)}):
        before, after = _flat(old).get(path), _flat(new).get(path)
        if before != after:
            head = path.split(".")[0]
            if head in {"code", "contents", "inputs"}:
                yield f"{path} changed"
            elif before is None:
                yield f"{path}: {after!r} is new"
            elif after is None:
                yield f"{path}: {before!r} is gone"
            else:
                yield f"{path}: {before!r} → {after!r}"


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        flat: dict[str, Any] = {}
        for name, item in value.items():
            flat |= _flat(item, f"{path}.{name}" if path else str(name))
        return flat
    if isinstance(value, list | tuple):
        return {path: list(value)}
    return {path: value}
