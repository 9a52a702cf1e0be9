"""The power fails: what was synced is there, and nothing of the rest is taken for right.

A file system in an image file: what the kernel has not written to the image yet is what a power
loss takes. A copy of the image at some moment is the disk as it would be found.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

from storing import contents, key_of, mounted, publish, unable

from edgepipe.store import Record, Store


def files_of(name: int) -> dict[str, bytes]:
    return {"small": b"%d" % name, "large": random.Random(name).randbytes(70_000 + name)}


def test_after_a_power_loss_what_was_synced_is_there_and_nothing_is_wrong(tmp_path: Path) -> None:
    if shutil.which("mkfs.ext4") is None:
        unable("mkfs.ext4 is not installed")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(24 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    synced: list[list[int]] = []
    # The clock makes the kernel write nothing meanwhile.
    with mounted(tmp_path / "disk", "-o", "loop,commit=300", image):
        store = Store(tmp_path / "disk" / "store")
        for turn in range(6):
            # Published just now, and never synced.
            for name in range(10 * turn, 10 * turn + 5):
                publish(store, name, files_of(name))
            if turn % 2:
                time.sleep(0.05)
            shutil.copyfile(image, tmp_path / f"lost{turn}")
            synced.append(list(range(0, 10 * turn, 10)))
            store.sync()
        store.close()
    lost = 0
    for turn, names in enumerate(synced):
        with mounted(tmp_path / "found", "-o", "loop", tmp_path / f"lost{turn}"):
            found = Store(tmp_path / "found" / "store")
            kept = [name for first in names for name in range(first, first + 5)]
            for name in range(60):
                record = looked_up(found, name)
                if record is None:
                    assert name not in kept
                    lost += 10 * turn <= name < 10 * turn + 5
                else:
                    assert contents(found, record) == [files_of(name)]
            # The next run goes on by itself.
            found.clean()
            for name in range(10 * turn, 10 * turn + 5):
                publish(found, name, files_of(name))
            found.sync()
            record = looked_up(found, 10 * turn)
            assert record is not None
            assert contents(found, record) == [files_of(10 * turn)]
            found.close()
    # Had nothing been lost, this would not have been a power loss.
    assert lost > 0


def looked_up(store: Store, name: int) -> Record | None:
    return store.record(key_of(name))
