"""What a run does while results are on their way from or to the team's store."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from projects import Folder
from remotes import bucket, credentials, s3_server, serving

from edgepipe.store import Store
from edgepipe.store.collect import collect

PIPELINE = """\
edgepipe: 1
name: p
stages:
  far: {uses: numbers, with: {count: 5}}
  twice: {uses: double, in: {values: far}}
  near: {uses: numbers, with: {count: 7}}
"""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch)


@contextmanager
def slow(folder: Path, part: str, seconds: float) -> Iterator[str]:
    """A web server over a folder, that takes its time over paths with ``part`` in them."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if part in self.path:
                time.sleep(seconds)
            with suppress(OSError):
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with serving(functools.partial(Handler, directory=str(folder))) as address:
        yield address


def shared(project: Folder, tmp_path: Path, node: str) -> tuple[Path, str]:
    """A folder with the results of the pipeline, and where in it one node's numbers lie."""
    project.write("p.yaml", PIPELINE)
    done = project.edgepipe("run", "p.yaml", "--json", EDGEPIPE_REMOTE=str(tmp_path / "team"))
    assert done.code == 0, done.err
    (project.path / "trace.jsonl").unlink()
    shutil.rmtree(project.cache)
    shutil.rmtree(project.path / ".edgepipe")
    tree = {n["name"]: n["outputs"]["values"]["digest"] for n in done.json["nodes"]}[node]
    listed = json.loads((tmp_path / "team" / "objects" / tree[:2] / tree[2:]).read_bytes())
    file = listed[0]["digest"]
    return tmp_path / "team", f"{file[:2]}/{file[2:]}"


def test_what_is_not_there_runs_meanwhile(project: Folder, tmp_path: Path) -> None:
    team, place = shared(project, tmp_path, "far")
    with slow(team, place, 3.0) as address:
        done = project.edgepipe(
            *("run", "p.yaml", "--set", "near.with.count=8", "--plain"), EDGEPIPE_REMOTE=address
        )
    assert done.code == 0, done.err
    assert project.trace() == ["near"]
    words = [line.split()[1:3] for line in done.out.splitlines() if line[:8].strip()]
    told = [
        word for word in words if word in (["done", "near"], ["waits", "far"], ["cached", "far"])
    ]
    # The wait is told after a second; what is in the team's store is not made again.
    assert told == [["done", "near"], ["waits", "far"], ["cached", "far"]]
    assert f"fetched from {address}, " in done.out
    # Each byte that came was checked then, and need not be read again.
    assert len((project.cache / "verified").read_text().splitlines()) >= 3


def test_what_is_only_asked_for_is_not_said_to_come(project: Folder, tmp_path: Path) -> None:
    team, _ = shared(project, tmp_path, "far")
    for verb in ("plan", "run"):
        with slow(team, "/records/", 2.0) as address:
            done = project.edgepipe(verb, "p.yaml", EDGEPIPE_REMOTE=address)
        assert done.code == 0, done.err
        assert done.err == f"asking {address} for what it has ...\n"
        assert "fetched from" not in done.out
    shutil.rmtree(project.cache)
    with slow(team, "/objects/", 2.0) as address:
        done = project.edgepipe("run", "p.yaml", "--plain", EDGEPIPE_REMOTE=address)
    # Not even the list of its files came within the second after which a wait is told.
    assert f"looked for at {address}" in done.out
    shutil.rmtree(project.cache)
    with slow(team, "/records/", 0.01) as address:
        assert project.edgepipe("run", "p.yaml", EDGEPIPE_REMOTE=address).err == ""


def test_what_is_small_waits_for_nothing_large(project: Folder, tmp_path: Path) -> None:
    team, place = shared(project, tmp_path, "near")
    with slow(team, place, 3.0) as address:
        done = project.edgepipe("run", "p.yaml", "--plain", EDGEPIPE_REMOTE=address)
    assert done.code == 0, done.err
    assert project.trace() == []
    order = [line.split()[2] for line in done.out.splitlines() if line.split()[1:2] == ["cached"]]
    order = order[:3]
    assert order == ["far", "twice", "near"]


def test_an_interrupt_does_not_wait_for_the_remote(project: Folder, tmp_path: Path) -> None:
    team, place = shared(project, tmp_path, "far")
    with slow(team, place, 20.0) as address:
        os.environ["EDGEPIPE_REMOTE"] = address
        try:
            process = project.start("run", "p.yaml", "--plain", "--set", "near.with.count=8")
        finally:
            del os.environ["EDGEPIPE_REMOTE"]
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[1:3] == [b"waits", b"far"]:
                break
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=15)
    assert process.returncode == 130, out + err
    assert time.monotonic() - begun < 5
    assert b"Traceback" not in out + err
    assert list((project.cache / "tmp").iterdir()) == []
    # What was done is kept, what was not is made.
    again = project.edgepipe("run", "p.yaml", "--json", "--set", "near.with.count=8")
    statuses = {node["name"]: node["status"] for node in again.json["nodes"]}
    assert statuses == {"far": "ran", "twice": "ran", "near": "cached"}


def test_gc_beside_a_run_takes_nothing_that_was_fetched(project: Folder, tmp_path: Path) -> None:
    team = str(tmp_path / "team")
    numbers = list(range(1, 61))
    project.write(
        "p.yaml",
        f"edgepipe: 1\nname: p\nstages:\n  many: {{uses: numbers, matrix: {{count: {numbers}}}}}\n",
    )
    assert project.edgepipe("run", "p.yaml", "--json", EDGEPIPE_REMOTE=team).code == 0
    (project.path / "trace.jsonl").unlink()
    for _ in range(3):
        shutil.rmtree(project.cache)
        shutil.rmtree(project.path / ".edgepipe")
        Store(project.cache).put_bytes(b"there is a store")
        over = threading.Event()

        def clear(over: threading.Event = over) -> None:
            while not over.is_set():
                collect(Store(project.cache))

        thread = threading.Thread(target=clear)
        thread.start()
        try:
            done = project.edgepipe("run", "p.yaml", "--json", EDGEPIPE_REMOTE=team)
        finally:
            over.set()
            thread.join()
        assert {node["status"] for node in done.json["nodes"]} == {"cached"}


def test_a_failure_ends_the_run_though_something_is_on_its_way(
    project: Folder, tmp_path: Path
) -> None:
    team, place = shared(project, tmp_path, "far")
    project.write("p.yaml", PIPELINE + "  bad: {uses: misbehave, with: {how: error}}\n")
    with slow(team, place, 30.0) as address:
        begun = time.monotonic()
        done = project.edgepipe(
            *("run", "p.yaml", "--no-keep-going", "--json"), EDGEPIPE_REMOTE=address
        )
        assert time.monotonic() - begun < 20
    assert done.code == 1
    statuses = {node["name"]: node["status"] for node in done.json["nodes"]}
    assert statuses["bad"] == "failed"
    assert statuses["far"] == statuses["twice"] == "skipped"


@contextmanager
def relay(address: str, seconds: float, puts: list[tuple[float, float]]) -> Iterator[str]:
    """Passes on to a server, PUT requests so much later; notes when each came and was answered."""
    host, port = address.removeprefix("http://").split(":")
    ours = socket.create_server(("127.0.0.1", 0))
    used, threads = [ours], []

    def pump(source: socket.socket, target: socket.socket, begun: list[float], up: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if up and piece.startswith(b"PUT "):
                    begun.append(time.time())
                    time.sleep(seconds)
                elif not up and begun:
                    puts.append((begun.pop(), time.time()))
                target.sendall(piece)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = ours.accept()
                far = socket.create_connection((host, int(port)))
                used.extend((near, far))
                begun: list[float] = []
                for pair in ((near, far, begun, True), (far, near, begun, False)):
                    threads.append(threading.Thread(target=pump, args=pair))
                    threads[-1].start()

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{ours.getsockname()[1]}"
    finally:
        for one in used:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in (server, *threads):
            thread.join()
        for one in used:
            one.close()


def test_nothing_is_uploaded_while_a_node_measures(project: Folder) -> None:
    puts: list[tuple[float, float]] = []
    with s3_server() as server, relay(server, 0.4, puts) as address:
        url, client = bucket(server)
        project.write("edgepipe.toml", f"[remote]\nurl = '{url}'\nendpoint = '{address}'\n")
        project.write(
            "p.yaml",
            "edgepipe: 1\nname: p\nstages:\n  some: {uses: numbers, matrix: {count: [1, 2, 3]}}\n"
            "  first: {uses: measure, in: {values: 'some[1].values'}}\n"
            "  second: {uses: measure, in: {values: 'some[2].values'}}\n",
        )
        done = project.edgepipe("run", "p.yaml", "--json")
        assert done.code == 0, done.err
        keys = client.list_objects_v2(Bucket=url.split("/")[2])["Contents"]
    assert len([item for item in keys if "/records/" in item["Key"]]) == 5
    assert len(puts) > 5
    measured: dict[str, list[float]] = {}
    for event in project.events():
        if event["node"] in {"first", "second"}:
            measured.setdefault(event["node"], []).append(event["time"])
    assert set(measured) == {"first", "second"}
    moved: list[Any] = [
        (name, put)
        for name, (begun, ended) in measured.items()
        for put in puts
        if put[0] < ended and begun < put[1]
    ]
    assert moved == []
