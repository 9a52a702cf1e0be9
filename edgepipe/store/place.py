"""Where a store may be."""

from __future__ import annotations

import os
from pathlib import Path

from edgepipe.errors import ConfigError

GATE = "gc.lock"
"""What lies in every cache that was used; in a remote only if somebody took it for one."""
_PROJECT = {"edgepipe.toml", "pyproject.toml", ".git"}
_SOURCES = (".yaml", ".yml", ".py")
_HINT = "let EDGEPIPE_CACHE, or --cache, name a folder of its own"


def check_place(root: Path) -> None:
    """See that a folder is, or can become, a store.

    Raises:
        ConfigError: something else is in its place, or it is a folder that a person works in, as
            after ``--cache .``, or a team's remote, whose results gc would remove
    """
    try:
        names = os.listdir(root)
    except OSError:
        if os.path.islink(root) and not os.path.exists(root):
            raise ConfigError(f"the cache {root} is a link that leads nowhere", _HINT) from None
        if os.path.lexists(root) and not os.path.isdir(root):
            raise ConfigError(f"the cache {root} is a file", _HINT) from None
        # Who needs what cannot be listed says so.
        return
    for name in sorted(names):
        if name in _PROJECT or name.endswith(_SOURCES):
            message = f"the folder {root} is to be the cache, and is a project's: it holds '{name}'"
            raise ConfigError(message, _HINT)
    if "records" in names and is_remote(root):
        raise ConfigError(f"the folder {root} is to be the cache, and is a remote", _HINT)


def is_remote(root: Path) -> bool:
    """Whether the first record that is found in a folder is one as a team's remote has them."""
    for folder, _, names in os.walk(root / "records"):
        for path in (Path(folder, name) for name in names):
            if path.is_file():
                try:
                    with path.open("rb") as file:
                        return file.read(12) == b'{"edgepipe":'
                except OSError:
                    continue
    return False
