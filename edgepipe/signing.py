"""Signatures with a key that a team shares: HMAC-SHA256 (RFC 2104), so who can check can sign.

Keys come from ``$EDGEPIPE_SIGNING_KEY`` or from a file, one a line. The first signs; all are
accepted, so that a team can change its key without signing everything again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from edgepipe.errors import ConfigError

VARIABLE = "EDGEPIPE_SIGNING_KEY"
SHORTEST = 16
"""Bytes that a key must have: a shorter one could be guessed from one signature."""
MAKE_ONE = 'make one: python -c "import secrets; print(secrets.token_hex(32))"'


@dataclass(frozen=True)
class Signer:
    """Signs bytes and checks signatures, in a domain that the caller names."""

    keys: tuple[bytes, ...] = field(repr=False)

    def sign(self, domain: str, body: bytes) -> str:
        """The signature of ``body``, as hex."""
        return _mac(self.keys[0], domain, body)

    def accepts(self, domain: str, body: bytes, signature: object) -> bool:
        """Whether ``signature`` is that of ``body`` by one of the keys."""
        if not isinstance(signature, str) or not signature.isascii():
            return False
        return any(hmac.compare_digest(_mac(key, domain, body), signature) for key in self.keys)


def find(key_file: Path | None = None) -> Signer | None:
    """The signer of ``$EDGEPIPE_SIGNING_KEY``, else of a file; None if neither is there.

    Raises:
        ConfigError: a key is too short, or the file cannot be read.
    """
    if text := os.environ.get(VARIABLE, "").strip():
        return _signer(text, f"${VARIABLE}")
    if key_file is None:
        return None
    try:
        return _signer(key_file.read_text(encoding="utf-8"), str(key_file))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(
            f"the signing key {key_file} cannot be read: {reason.lower()}",
            f"make it readable for you, or set {VARIABLE}",
        ) from None


def _signer(text: str, source: str) -> Signer:
    try:
        keys = tuple(line.encode() for line in text.split())
    except UnicodeEncodeError:
        raise ConfigError(f"the signing key in {source} is no text", MAKE_ONE) from None
    if not keys or min(map(len, keys)) < SHORTEST:
        message = f"the signing key in {source} has fewer than {SHORTEST} characters"
        raise ConfigError(message, MAKE_ONE)
    return Signer(keys)


def _mac(key: bytes, domain: str, body: bytes) -> str:
    # The domain's length keeps the two apart.
    head = domain.encode()
    message = len(head).to_bytes(1, "big") + head + body
    return hmac.new(key, message, hashlib.sha256).hexdigest()
