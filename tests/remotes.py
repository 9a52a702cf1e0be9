"""What tests of the shared store use: stores with results, and servers, good and bad, on loopback."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgepipe.digest import digest_bytes
from edgepipe.project import Project
from edgepipe.remote import Remote
from edgepipe.store import Output, Record, Store

TEAM_KEY = "a-key-that-the-team-shares"
SECRET = "a-secret-of-the-user"


def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What S3 needs, and nothing of the user's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("EDGEPIPE_REMOTE", "EDGEPIPE_SIGNING_KEY", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def key(name: str) -> str:
    return digest_bytes("key", name.encode())


def result(store: Store, name: str, **outputs: Mapping[str, bytes]) -> Record:
    """Put a result into a store: output → file → bytes."""
    outputs = outputs or {"out": {"value": name.encode(), "deep/er/empty": b""}}
    trees = {}
    for port, files in outputs.items():
        folder = store.staging()
        for path, body in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(body)
        tree = store.put_tree(folder)
        trees[port] = Output("Folder", tree.digest, tree.size)
    record = Record(
        key=key(name),
        kind="numbers",
        made_of={"kind": "numbers", "params": {"name": name}},
        outputs=trees,
        metrics={"accuracy": 0.75},
        seconds=1.5,
        cpu_seconds=2.5,
        peak_memory=1 << 20,
        created=1.75e9,
    )
    store.put_record(record)
    return record


def content(store: Store, record: Record, folder: Path) -> dict[str, bytes]:
    """All bytes of a result, laid out for the user."""
    found = {}
    for port, output in record.outputs.items():
        store.copy(output.tree, folder / port)
        for path in sorted((folder / port).rglob("*")):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def remote(root: Path, url: str, **settings: Any) -> Remote:
    """The remote of a project in ``root``."""
    root.mkdir(exist_ok=True)
    table = {"url": url, **settings}
    opened = Remote.open(Project(root, (), root / "cache", remote=table))
    assert opened is not None
    return opened


@contextmanager
def s3_server() -> Iterator[str]:
    """A server that speaks S3, as a process of its own; its address."""
    code = (
        "import sys\nfrom moto.server import ThreadedMotoServer\n"
        "server = ThreadedMotoServer('127.0.0.1', 0, verbose=False)\nserver.start()\n"
        "print(server.get_host_and_port()[1], flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def bucket(endpoint: str) -> tuple[str, Any]:
    """A new bucket's URL with a prefix, and a client of the server, independent of edgepipe's."""
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    name = f"b{uuid.uuid4().hex}"
    client.create_bucket(Bucket=name)
    return f"s3://{name}/team/cache", client


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A threaded HTTP server on loopback; its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def web_server(folder: Path) -> Any:
    """The standard library's server of files."""
    return serving(functools.partial(_Quiet, directory=str(folder)))


Answer = Callable[["Asked"], None]


class Asked:
    """A request as a misbehaving server sees it."""

    def __init__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.handler = handler
        self.method = handler.command
        self.path = handler.path
        self.headers = handler.headers

    def head(self, status: int = 200, length: int | None = None) -> None:
        self.handler.send_response(status)
        if length is not None:
            self.handler.send_header("Content-Length", str(length))
        self.handler.send_header("Connection", "close")
        self.handler.end_headers()

    def body(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def hang(self, seconds: float = 30) -> None:
        """Say nothing until the other side has gone."""
        self.handler.connection.settimeout(seconds)
        try:
            while self.handler.connection.recv(1 << 16):
                pass
        except OSError:
            pass

    def drop(self) -> None:
        """End the connection as a crash does."""
        self.handler.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def misbehaving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that answers as a function does; its address and a list of what was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        # Uploads ask first whether they may go on, as this version can.
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                # The client left, as it should.
                self.close_connection = True

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.close_connection = True
            answer(Asked(self))

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as url:
        yield url, asked


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done inside ends in time."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"it took {took:.1f} s"
