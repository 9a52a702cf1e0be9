"""What a key was made of, finely: small objects in the store, which a record names.

A key holds one digest for all of the code and one for all files of a parameter. To say later
which definition or which file changed, a manifest keeps the name and digest of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgepipe.digest import canonical
from edgepipe.errors import StoreError
from edgepipe.plaindata import is_plain
from edgepipe.store import Store


def body(names: Mapping[str, Any]) -> bytes:
    """A manifest as bytes."""
    return canonical(dict(names))


def publish(store: Store, manifests: Mapping[str, bytes]) -> dict[str, str]:
    """Put manifests into the store.

    Returns:
        the digest of each, for the record.

    Raises:
        StoreError: it cannot be written.
    """
    return {name: store.put_bytes(body) for name, body in manifests.items()}


def read(store: Store, digest: str | None) -> Mapping[str, Any] | None:
    """A manifest; None where it is not there, or cannot be one."""
    if digest is None:
        return None
    try:
        value = store.get_json(digest)
    except StoreError:
        return None
    return value if isinstance(value, dict) and is_plain(value) else None
