"""Where the remote is and how it may be used: ``[remote]`` in edgepipe.toml, and the environment."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from edgepipe.errors import ConfigError, Problem, did_you_mean
from edgepipe.project import Project, expanded, place_of

VARIABLE = "EDGEPIPE_REMOTE"
TIMEOUT = 10.0
_SETTINGS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "url": ((str,), "a text, like 's3://bucket/prefix'"),
    "endpoint": ((str,), "a URL, like 'https://minio.example.org'"),
    "read_only": ((bool,), "true or false"),
    "timeout": ((int, float), "a number of seconds, like 10"),
    "require_signed": ((bool,), "true or false"),
    "signing_key_file": ((str,), "a text, like '~/.config/edgepipe/team.key'"),
}
_SCHEMES = "a folder, s3://bucket/prefix, or https://host/prefix (for reading)"

Kind = Literal["folder", "s3", "http"]


@dataclass(frozen=True)
class Settings:
    """A remote's address and rules. What is secret is in no text made of it."""

    kind: Kind
    shown: str
    """The address without user, password and query."""
    base: str = field(repr=False)
    """Folder, ``bucket/prefix`` or URL below which the tables are, without a slash at the end."""
    query: str = field(default="", repr=False)
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    endpoint: str = field(default="", repr=False)
    read_only: bool = False
    timeout: float = TIMEOUT
    """Seconds that a small request may take, and that a large one may stand still."""
    require_signed: bool = False
    key_file: Path | None = None


def read(project: Project) -> Settings | None:
    """The settings of a project's remote; None if it has none.

    ``$EDGEPIPE_REMOTE`` goes before ``url``; set to nothing, it turns the remote off.

    Raises:
        ConfigError: a setting is unknown or wrong, or a package that it needs is missing.
    """
    table = project.remote
    _check(table, project.root)
    url = os.environ.get(VARIABLE, table.get("url", "")).strip()
    if not url:
        return None
    kind, shown, base, parts = _parse(url, project.root)
    key_file = table.get("signing_key_file")
    settings = Settings(
        kind=kind,
        shown=shown,
        base=base,
        query=parts.query,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        endpoint=table.get("endpoint", ""),
        read_only=table.get("read_only", False) or kind == "http",
        timeout=float(table.get("timeout", TIMEOUT)),
        # Who names a key file wants signatures, also where the file is not there.
        require_signed=table.get("require_signed", False) or key_file is not None,
        key_file=None if key_file is None else project.root / expanded(key_file),
    )
    needed = {"folder": (), "s3": ("fsspec", "s3fs"), "http": ("fsspec", "aiohttp")}[kind]
    for name in needed:
        if importlib.util.find_spec(name) is None:
            message = f"the remote {shown} needs {name}, which is not installed"
            raise ConfigError(message, "install it: pip install 'edgepipe[remote]'")
    return settings


def _check(table: Mapping[str, Any], root: Path) -> None:
    problems = []
    for name, value in table.items():
        where = place_of(root, name, "remote")
        if name not in _SETTINGS:
            hint = did_you_mean(name, _SETTINGS, "settings")
            problems.append(Problem(f"unknown setting 'remote.{name}'", hint, where))
            continue
        types, expected = _SETTINGS[name]
        wrong = not isinstance(value, types) or (isinstance(value, bool) and bool not in types)
        wrong = wrong or (name == "endpoint" and value != "" and not _is_web(value))
        if wrong or (name == "timeout" and not 0 < value <= 3600):
            message, _, hint = f"'remote.{name}' must be {expected}".partition(", ")
            problems.append(Problem(message, hint, where))
    if problems:
        raise ConfigError(problems)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://")) and url.partition("://")[2].strip("/") != ""


def _parse(url: str, root: Path) -> tuple[Kind, str, str, Any]:
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    try:
        # A folder may be called what a URL may not.
        parts = urlsplit(url if scheme else "")
    except ValueError:
        # What is wrong may be a part of the password: the message says nothing of it.
        message = "the remote's URL is none: a character has to be written as %5B is for ["
        raise ConfigError(message, f"remotes: {_SCHEMES}") from None
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("the remote's URL has a port that is none", _SCHEMES) from None
    if parts.fragment or (parts.query and scheme in {"file", "s3"}):
        # Cut off there, two prefixes would be one.
        message = "the remote's URL has a part after # or ? that leads nowhere"
        hint = "in a name, write %23 for # and %3F for ?; s3:// has neither"
        if scheme == "s3" and parts.query:
            hint = "another S3 server is the 'endpoint' of edgepipe.toml, or AWS_ENDPOINT_URL"
        raise ConfigError(message, hint)
    netloc = parts.netloc.rpartition("@")[2]
    path = parts.path.strip("/")
    if scheme in {"", "file"}:
        if host not in {"", "localhost"}:
            raise ConfigError(f"the remote file://{netloc}/ names a host", f"remotes: {_SCHEMES}")
        folder = expanded(unquote(parts.path) if scheme else url)
        # As a path in a pipeline: what is shown is what is used, and nothing is asked of a drive.
        absolute = os.path.normpath((root / folder).absolute())
        return "folder", absolute, absolute, parts
    if scheme in {"http", "https"} and host:
        shown = f"{scheme}://{netloc}/{path}".rstrip("/")
        return "http", shown, shown, parts
    if scheme == "s3" and host and port is None:
        base = f"{netloc}/{path}".rstrip("/")
        return "s3", f"s3://{base}", base, parts
    message = f"a remote cannot be at '{scheme}://…'" if scheme != "s3" else "no bucket is named"
    raise ConfigError(message, f"remotes: {_SCHEMES}")
