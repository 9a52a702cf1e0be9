"""A record and a tree as they travel: checked to the last field, since anybody may have written them."""

from __future__ import annotations

import json

from edgepipe.digest import canonical, digest_bytes
from edgepipe.remote.transport import RejectedError
from edgepipe.signing import Signer
from edgepipe.store import Record, Tree
from edgepipe.store.model import plain, record_from, unpack_tree

FORMAT = 1
DOMAIN = "edgepipe record 1"
RECORD_LIMIT = 4 << 20
TREE_LIMIT = 64 << 20


class NotARecordError(RejectedError):
    """The bytes are no record at all: this is no remote, or it is damaged."""


class UntrustedError(RejectedError):
    """The record's signature is missing or wrong."""


class OtherFormatError(Exception):
    """A record of another version of edgepipe: none for us, and not ours to replace."""


def encode_record(record: Record, signer: Signer | None) -> bytes:
    """A record's bytes for the remote. Raises ValueError where nobody could read it as a record."""
    body = plain(record)
    signature = signer.sign(DOMAIN, canonical(body)) if signer else None
    return canonical({"edgepipe": FORMAT, "record": body, "hmac-sha256": signature})


def decode_record(data: bytes, key: str, signer: Signer | None) -> Record:
    """Read a record that the remote gave for ``key``.

    With a signer, the signature is checked before anything else is looked at. It covers all
    fields, the key among them: a record cannot be moved under another key.

    Raises:
        RejectedError: NotARecordError, UntrustedError, or what it says cannot be.
        OtherFormatError: another version wrote it.
    """
    try:
        value = json.loads(data)
        body, number = value["record"], value["edgepipe"]
        if number != FORMAT or isinstance(number, bool):
            raise OtherFormatError
        signed = canonical(body)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NotARecordError("it is no record") from None
    if signer is not None:
        signature = value.get("hmac-sha256")
        if signature is None:
            raise UntrustedError("it is not signed")
        if not signer.accepts(DOMAIN, signed, signature):
            raise UntrustedError("its signature is wrong")
    try:
        record = record_from(body)
    except ValueError as error:
        raise RejectedError(str(error)) from None
    if record.key != key:
        raise RejectedError("it is the record of another key")
    return record


def decode_tree(data: bytes, digest: str) -> Tree:
    """Read a tree whose bytes were asked for by ``digest``. Raises RejectedError."""
    if digest_bytes("tree", data) != digest:
        raise RejectedError("it is not what its digest says")
    try:
        return Tree(digest, unpack_tree(data))
    except ValueError as error:
        raise RejectedError(str(error)) from None
