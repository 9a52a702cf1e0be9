"""What a key was made of, finely: small objects in the store, which a record names.

A key holds one digest for all of the code and one for all files of a parameter. To say later
which definition or which file changed, a manifest keeps the name and digest of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgepipe.digest import canonical, digest_bytes
from edgepipe.errors import StoreError
from edgepipe.store import Store


def body(names: Mapping[str, Any]) -> bytes:
    """A manifest as bytes."""
    return canonical(dict(names))


def publish(store: Store, manifests: Mapping[str, bytes]) -> dict[str, str]:
    """Put manifests into the store; one that is there costs no more than a look.

    Returns:
        the digest of each, for the record.

    Raises:
        StoreError: it cannot be written.
    """
    digests = {name: digest_bytes("file", bytes_) for name, bytes_ in manifests.items()}
    missing = {
        digests[name]: bytes_
        for name, bytes_ in manifests.items()
        if not store.object_path(digests[name]).exists()
    }
    if missing:
        folder = store.staging()
        try:
            for digest, bytes_ in missing.items():
                (folder / digest).write_bytes(bytes_)
            store.put_tree(folder)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StoreError(f"{folder}: {reason}", "make room, or make it writable") from error
        finally:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    return digests


def read(store: Store, digest: str | None) -> Mapping[str, Any] | None:
    """A manifest; None where it is not there, or not what its digest says."""
    if digest is None:
        return None
    try:
        found = store.object_path(digest).read_bytes()
        value = json.loads(found) if digest_bytes("file", found) == digest else None
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
