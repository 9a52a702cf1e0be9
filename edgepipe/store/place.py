"""Where a store may be: a folder of its own, since what is unfinished there is cleared."""

from __future__ import annotations

import os
from pathlib import Path

from edgepipe.errors import ConfigError

_OURS = {"objects", "records", "tmp", "scratch", "locks", "roots", "quarantine", "verified"}
_BESIDE = {"gc.lock", "noop", "envs", "lost+found"}
_HINT = "let EDGEPIPE_CACHE, or --cache, name a new folder or one that was a cache before"


def check_place(root: Path) -> None:
    """See that a folder is, or can become, a store.

    Raises:
        ConfigError: something else is in its place, or in it.
    """
    try:
        names = set(os.listdir(root))
    except FileNotFoundError:
        if os.path.islink(root):
            raise ConfigError(f"the cache {root} is a link that leads nowhere", _HINT) from None
        return
    except OSError:
        if os.path.lexists(root) and not os.path.isdir(root):
            raise ConfigError(f"the cache {root} is a file", _HINT) from None
        # Who needs what cannot be listed says so.
        return
    if "objects" in names and "records" in names:
        return
    others = {name for name in names - _OURS - _BESIDE if not name.startswith(".")}
    if others:
        message = f"the folder {root} is to be the cache, and holds other things: '{min(others)}'"
        raise ConfigError(message, _HINT)
