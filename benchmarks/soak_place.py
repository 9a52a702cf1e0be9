"""A project that is killed: its pipeline, its processes, and what lies about in it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edgepipe.holding import held

ROOT = Path(__file__).parent.parent
PIPELINE = """
edgepipe: 1
name: soak
seed: SEED
vars: {small: {arch: resnet8, width: 0.5, stem: small}}
stages:
  data: {uses: data.digits, with: {image_size: 8, test_fraction: 0.8}}
  teacher:
    uses: train.classifier
    in: {data: data}
    with: {model: {arch: resnet8, stem: small}, epochs: EPOCHS}
  student:
    uses: distill.logits
    in: {teacher: teacher, data: data}
    with: {model: "${small}", epochs: EPOCHS}
  pruned:
    uses: prune.structured
    in: {model: teacher, data: data}
    with: {ratio: 0.5, steps: 2, step_epochs: 2, epochs: 4}
  onnx: {uses: convert.onnx, in: {model: pruned}}
  int8: {uses: quantize.static, in: {model: onnx, data: data}, with: {samples: 20}}
  parity: {uses: check.parity, in: {reference: pruned, model: onnx, data: data}}
"""
RUN = ["run", "soak.yaml", "--plain"]
NODES = 7
TRAININGS = {"teacher", "student", "pruned"}
VARIANTS = [(12, 7), (16, 7), (12, 8), (16, 8)]
"""Epochs and seed; the pipeline is edited from one to another."""
TEMPORARY = re.compile(r"(\.tmp|\.partial|\.\d+|~)$|^\.(run|export)")
"""Names of files that are not finished."""


class Place:
    """A project with a cache and a folder for temporary files of its own, and commands in it."""

    def __init__(self, folder: Path, code: Path) -> None:
        self.project, self.cache, self.temporary = (
            folder / name for name in ("project", "cache", "temporary")
        )
        self.output = folder / "output"
        self.project.mkdir(parents=True)
        self.temporary.mkdir()
        (self.project / "edgepipe.toml").touch()
        self.environment = {
            **os.environ,
            "EDGEPIPE_CACHE": str(self.cache),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")]),
        }

    def edit(self, variant: tuple[int, int]) -> None:
        """Write the pipeline, unless it is as it should be."""
        epochs, seed = map(str, variant)
        text = PIPELINE.replace("EPOCHS", epochs).replace("SEED", seed)
        file = self.project / "soak.yaml"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command in the background; all it prints goes to `output`."""
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "edgepipe", *arguments],
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, *arguments: str) -> tuple[int, str]:
        """A command that nobody kills: exit code and all it printed."""
        code = self.start(*arguments).wait()
        return code, self.told()

    def told(self) -> str:
        """What the last command printed so far."""
        return self.output.read_text(errors="replace")

    def outputs(self) -> dict[str, str]:
        """NODE.PORT → digest, of the last recorded run."""
        shown = json.loads(self.finish("show", "--json")[1])
        return {
            f"{node['name']}.{port}": output["digest"]
            for node in shown["nodes"]
            for port, output in node["outputs"].items()
        }

    def alive(self) -> list[int]:
        """Processes that belong here, however they came to be."""
        mine = f"EDGEPIPE_CACHE={self.cache}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            # What ended meanwhile has no files; what only waits to be collected has no variables.
            with contextlib.suppress(OSError):
                if mine in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def glob(self, pattern: str) -> list[Path]:
        """What the cache holds; what goes meanwhile, as the workers' folders do, is no error."""
        return [self.cache / name for name in glob.glob(pattern, root_dir=self.cache)]  # noqa: PTH207

    def published_untold(self) -> bool:
        """Whether an object came, or got another name, since the last line was printed."""
        told = self.output.stat().st_mtime_ns
        return any(o.stat().st_ctime_ns > told for o in self.glob("objects/*/*"))

    def left_over(self, clean: Place) -> Iterator[str]:
        """What a finished run must not leave."""
        yield from map(str, self.glob("tmp/*"))
        # What torch keeps there for good, a clean run leaves too.
        kept = {path.name for path in clean.temporary.iterdir()}
        yield from (str(path) for path in self.temporary.iterdir() if path.name not in kept)
        yield from map(str, self.temporary.glob("edgepipe-*/*"))
        yield from (f"held: {path}" for path in self.glob("locks/*") if held(str(path)))
        for path in self.glob("scratch/*"):
            if (self.cache / "records" / path.name[:2] / path.name[2:]).exists():
                yield str(path)
        for path in [*self.project.rglob("*"), *self.cache.rglob("*")]:
            if TEMPORARY.search(path.name) and "objects" not in path.parts:
                yield str(path)


class Clean:
    """What runs make that nobody kills, found out once for each variant."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._known: dict[tuple[int, int], dict[str, str]] = {}
        self._lock = threading.Lock()

    def outputs(self, variant: tuple[int, int]) -> dict[str, str]:
        """NODE.PORT → digest."""
        with self._lock:
            if variant not in self._known:
                self.place.edit(variant)
                begun = time.monotonic()
                code, told = self.place.finish(*RUN)
                if code:
                    raise SystemExit(f"the clean run failed:\n{told}")
                self._known[variant] = self.place.outputs()
                print(f"clean run of {variant}: {time.monotonic() - begun:.1f} s", flush=True)
            return self._known[variant]


def parent(pid: int) -> int:
    """The process that started another; 0 if that has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def copy_of_the_code(folder: Path) -> Path:
    """The engine, so that no edit meets a soak of hours, and stages that write checkpoints often."""
    for path in (ROOT / "edgepipe", ROOT / "stages" / "edgepipe_stages"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(path, folder / path.name, ignore=ignored)
    file = folder / "edgepipe_stages" / "_training" / "fit.py"
    text = file.read_text()
    assert "CHECKPOINT_SECONDS = 10.0" in text
    file.write_text(text.replace("CHECKPOINT_SECONDS = 10.0", "CHECKPOINT_SECONDS = 0.05"))
    return folder
