"""Processes that publish are killed, or are many at once: no object is wrong, nothing stays."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from storing import broken_records, left_over, objects, publish, put, records, wrong_names

from edgepipe.store import Store
from edgepipe.store.collect import collect

PUBLISHER = """
import random, sys
from pathlib import Path
from storing import put, record_of
from edgepipe.store import Store

store, number = Store(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
root = store.root_of_run(f"run{sys.argv[2]}", Path(sys.argv[1]), "p")
print("ready", flush=True)
for turn in range(10**9):
    files = {
        f"{number.choice('abc')}/{i}": number.randbytes(number.choice([0, 9, 5000, 300_000]))
        for i in range(number.randrange(4))
    }
    with store.using():
        trees = [put(store, files), put(store, {"same": b"in all"})]
        record = record_of((sys.argv[2], turn), *trees)
        store.put_record(record)
        root.add(record.key)
    if turn % 7 == 0:
        store.sync()
    print(record.key, flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    path = str(Path(__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{program}"]
        + [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_publisher_killed_at_any_moment_leaves_only_right_objects(tmp_path: Path) -> None:
    chance = random.Random(11)
    published: list[str] = []
    for turn in range(25):
        process = start(PUBLISHER, tmp_path / "store", turn)
        assert line_of(process) == "ready"
        # However busy the machine is, it is killed at work: between two lines, not by the clock.
        published += [line_of(process) for _ in range(chance.randrange(5))]
        time.sleep(chance.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        published += [line for line in out.split("\n")[:-1] if line != "ready"]
        assert wrong_names(tmp_path / "store") == []
        assert broken_records(tmp_path / "store") == []
    store = Store(tmp_path / "store")
    assert len(published) > 25
    assert all(store.record(key) is not None for key in published)
    assert len(list((tmp_path / "store" / "tmp").iterdir())) > 0
    store.clean()
    assert left_over(tmp_path / "store") == []
    assert store.damages == []


def test_a_dead_publishers_objects_without_a_record_go_with_gc(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    put(store, {"a": b"never recorded"})
    assert len(objects(store.root)) == 2
    found = collect(store)
    assert (found.objects, objects(store.root)) == (2, [])


WRITER = """
import sys
from pathlib import Path
from storing import put, record_of
from edgepipe.store import Store

print("ready", flush=True)
sys.stdin.readline()
store = Store(Path(sys.argv[1]))
for turn in range(30):
    files = {"big": bytes([turn]) * 200_000, "small": b"%d" % turn}
    with store.using():
        store.put_record(record_of(turn, put(store, files)))
    assert store.record(record_of(turn).key) is not None
assert store.damages == []
print("done")
"""


def test_sixteen_writers_of_the_same_objects(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{WRITER}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "store")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(16)
    ]
    for process in processes:
        assert line_of(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [(p.communicate(timeout=60)[0].strip(), p.returncode) for p in processes]
    assert ends == [("done", 0)] * 16
    root = tmp_path / "store"
    assert wrong_names(root) == []
    assert broken_records(root) == []
    assert (len(objects(root)), len(records(root))) == (3 * 30, 30)
    assert left_over(root) == []


def test_gc_takes_nothing_from_processes_that_publish(tmp_path: Path) -> None:
    root = tmp_path / "store"
    (root / ".edgepipe" / "runs").mkdir(parents=True)
    store = Store(root)
    unheld = publish(store, "old", {"old": b"held by nobody"})
    processes = [start(PUBLISHER, root, number) for number in range(3)]
    try:
        for process in processes:
            assert line_of(process) == "ready"
        published: list[str] = []
        for _ in range(15):
            published += [line_of(process) for process in processes for _ in range(3)]
            collect(store)
            assert all(store.record(key) is not None for key in published)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert store.record(unheld.key) is None
    assert wrong_names(root) == []
    assert broken_records(root) == []
    assert store.damages == []
    # They are dead and their runs' folders are not there: now nothing holds their records.
    collect(store)
    store.close()
    assert records(root) == objects(root) == left_over(root) == []


HOLDER = """
import sys, time
from pathlib import Path
from edgepipe.store import Store

lock = Store(Path(sys.argv[1])).lock(sys.argv[2])
print("no" if lock is None else "yes", flush=True)
time.sleep(60)
"""


def test_a_keys_lock_is_one_process_alone_and_ends_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = "ab" * 32
    processes = [start(HOLDER, store.root, key)]
    try:
        assert line_of(processes[0]) == "yes"
        assert store.lock(key) is None
        processes[0].kill()
        processes[0].wait()
        first = store.lock(key)
        assert first is not None
        processes.append(start(HOLDER, store.root, key))
        assert line_of(processes[1]) == "no"
        assert store.lock(key) is None
        first.release()
        first.release()
        second = store.lock(key)
        assert second is not None
        second.release()
        assert left_over(store.root) == []
    finally:
        for process in processes:
            process.kill()
            process.communicate()
