"""What a node's result depends on, and which part of that changed."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Mapping
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
"""Changes when the worker gives a stage something else. What a stage imports of the engine
(`edgepipe.stage`) is part of its code and needs no change here."""
PYTHON = ".".join(platform.python_version_tuple()[:2])


@dataclass(frozen=True)
class Key:
    """A node's key, and the plain data that it digests."""

    digest: str
    made_of: Mapping[str, Any]


@functools.cache
def installed(name: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def sites() -> dict[str, int]:
    """Folders of installed modules, and when something was last put there or taken out, in ns."""
    found: dict[str, int] = {}
    for entry in sys.path:
        if entry.endswith(("site-packages", "dist-packages")):
            with contextlib.suppress(OSError):
                found[entry] = Path(entry).stat().st_mtime_ns
    return found


def other_versions(known: Mapping[str, str]) -> list[str]:
    """What has another version than is known, as ``torch 2.13.0 → 2.14.0``."""
    now = {name: installed.__wrapped__(name) for name in known}
    return [f"{n} {v} → {now[n] or 'not installed'}" for n, v in known.items() if now[n] != v]


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


@dataclass(frozen=True)
class World:
    """What a key depends on beside the project. Handed in, so that a test can be elsewhere."""

    machine: Callable[[], Mapping[str, Any]]
    """What a measurement depends on."""
    version: Callable[[str], str | None]
    """The version of an installed distribution; None if it is not installed."""
    environment: Callable[[GraphNode], str | None]
    """Digest of the lock of the environment that a node runs in; None for the engine's own."""


def _locked(node: GraphNode) -> str | None:
    environment = node.environment
    return None if environment is None or environment.lock is None else environment.lock.digest


HERE = World(machine, installed, _locked)
"""This process, on this machine."""


def key_of(
    node: GraphNode,
    resolved: Resolved,
    code: str,
    inputs: Mapping[str, str],
    world: World = HERE,
    foreign: Mapping[str, str] | None = None,
) -> Key:
    """The key of a node.

    Args:
        node: the node.
        resolved: its parameters.
        code: digest of the code that it reaches (`code_digest`).
        inputs: input port → digest of the tree that feeds it.
        world: what else there is.
        foreign: versions of what the user's code imports.

    Raises:
        ConfigError: a distribution that the stage requires is not installed.
    """
    made_of = parts_of(node, resolved, code, inputs, world, foreign)
    return Key(digest_value("key", made_of), made_of)


def parts_of(
    node: GraphNode,
    resolved: Resolved,
    code: str,
    inputs: Mapping[str, str],
    world: World = HERE,
    foreign: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What a key digests; see `key_of`."""
    made_of: dict[str, Any] = {
        "version": VERSION,
        "kind": node.kind.name,
        "code": code,
        "params": resolved.for_key,
        "contents": resolved.contents,
        "inputs": dict(inputs),
        "requires": {**(foreign or {}), **requirements(node, world)},
        "python": PYTHON if node.environment is None else node.environment.python,
    }
    if node.stage.seeded:
        made_of["seed"] = node.seed
    if node.stage.measures:
        made_of["machine"] = dict(world.machine())
    if (environment := world.environment(node)) is not None:
        made_of["environment"] = environment
    return made_of


def code_digest(code: Code) -> tuple[str, bytes]:
    """One digest for a fingerprint, and the bytes that it digests."""
    body = canonical(dict(code))
    return digest_bytes("code", body), body


def requirements(node: GraphNode, world: World = HERE) -> dict[str, str]:
    """Installed versions of what a stage requires; those that are locked, in an environment.

    Raises:
        ConfigError: something is not installed.
    """
    versions = {}
    environment = node.environment
    for name in node.stage.needs():
        version = world.version(name) if environment is None else environment.version(name)
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


def distributions_of(module: str, world: World = HERE) -> dict[str, str]:
    """The distributions that hold a top-level module → their versions.

    There are several where a package is only a name that they share, such as ``google``.
    """
    name = _NAMED_OTHERWISE.get(module, module)
    version = world.version(name)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    is_shared = spec is not None and spec.origin is None
    if version is not None and not is_shared:
        return {name: version}
    known = {name, *(_distributions().get(module, ()) if spec is not None else ())}
    found = {name: world.version(name) for name in sorted(known)}
    return {name: version for name, version in found.items() if version is not None}


_NAMED_OTHERWISE = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Modules that many use; of others, all distributions have to be looked through."""


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return {name: sorted(set(found)) for name, found in metadata.packages_distributions().items()}
