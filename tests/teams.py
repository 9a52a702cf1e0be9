"""A team with a shared store: what is in it, and ways to hurt it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from remotes import remote

from edgepipe.digest import canonical, digest_bytes
from edgepipe.remote import Remote
from edgepipe.signing import Signer
from edgepipe.store import Record, Store

PASSWORD = "pass-word-of-the-user"
PATIENCE = 1
"""Seconds that these remotes are given; what is well behaved gets the usual ten."""


class Team:
    """A shared folder, two members' stores, and ways to hurt what is shared."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shared = root / "shared"
        self.mine = Store(root / "mine")
        self.theirs = Store(root / "theirs")
        self.opened: list[Remote] = []

    def remote(self, url: str = "../shared", **settings: Any) -> Remote:
        self.opened.append(remote(self.root / "project", url, **settings))
        return self.opened[-1]

    def record_path(self, record: Record) -> Path:
        return self.shared / "records" / record.key[:2] / record.key[2:]

    def object_path(self, digest: str) -> Path:
        return self.shared / "objects" / digest[:2] / digest[2:]

    def file_of(self, record: Record) -> Path:
        (file,) = self.mine.tree(record.outputs["out"].tree).files
        return self.object_path(file.digest)

    def nothing_came(self, digest: str = "") -> None:
        """No record, no half file, and none that is not what its name says."""
        assert list(self.theirs.records.keys()) == []
        for path in self.theirs.root.rglob("*"):
            if path.is_file():
                name = path.parent.name + path.name
                assert path.parent.parent.name == "objects", path
                body = path.read_bytes()
                assert name in {digest_bytes(tag, body) for tag in ("file", "tree")}
                assert name != digest


def write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(body)


def forge(team: Team, record: Record, signer: Signer | None = None, **change: Any) -> None:
    """Put a record on the remote as somebody could who may write there."""
    body = asdict(record)
    signature = signer.sign("edgepipe record 1", canonical(body)) if signer else None
    envelope = {"edgepipe": 1, "record": body, "hmac-sha256": signature, **change}
    write(team.record_path(record), json.dumps(envelope).encode())
