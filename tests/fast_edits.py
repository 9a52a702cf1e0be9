"""What may change between two runs, beside the edits of a random pipeline (`random_edits`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fast_project import FILES, NEW, USES
from forked import NO_BYTECODE
from random_edits import EDITS, edit
from random_pipelines import Pipeline
from storing import flip

SETTINGS = [
    "",
    "# A comment.\n",
    'cache_size = "1 GB"\n',
    'plugins = ["plugins", "more/plug"]\n',
    "x",
]
VARIABLES = {
    "COLUMNS": ["80", "100", "90"],
    "NO_COLOR": ["", "1"],
    "LANG": ["C", "en_US.UTF-8"],
    "OTHER": ["1", "2"],
    "EDGEPIPE_CACHE_SIZE": ["", "1 GB", "1 B", "much"],
    "EDGEPIPE_REMOTE": ["", "shared"],
}


@dataclass
class World:
    """A project and what is around it."""

    base: Path
    pipeline: Pipeline
    root: Path = field(init=False)
    cache: Path = field(init=False)
    variables: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    moves: int = 0

    def __post_init__(self) -> None:
        self.root, self.cache = self.base / "outer" / "p0", self.base / "cache"
        for name, text in FILES.items():
            _write(self.root / name, text)
        (self.root / "data/link").symlink_to("v1")
        (self.root / "plugins/_linked.py").symlink_to("../linked/one.py")
        self.pipeline.write(self.root)

    @property
    def path(self) -> list[Path]:
        return [self.base / "outer" / "develop", self.base / "outer" / "site"]

    def env(self) -> dict[str, str]:
        own = {"EDGEPIPE_CACHE": str(self.cache), "TRACE": str(self.base / "trace")}
        return {**os.environ, **self.variables, **own, **NO_BYTECODE}

    def apply(self, which: str, rng: Random) -> None:
        if which in EDITS:
            self.pipeline = edit(self.pipeline, rng, self.root, which)
        else:
            MORE[which](self, rng)

    def heal(self) -> None:
        """Take back what may keep pipelines from being run at all."""
        self.variables.clear()
        for name in NEW:
            path = self.root / name
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()
        for name, text in FILES.items():
            _write(self.root / name, text)
        self.pipeline.written = {}
        self.pipeline.write(self.root)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _new_file(world: World, rng: Random) -> None:
    name = rng.choice(list(NEW))
    path = world.root / name
    if path.exists():
        path.unlink()
        if rng.random() < 0.5 and not any(path.parent.iterdir()):
            path.parent.rmdir()
    else:
        _write(path, NEW[name])


def _variable(world: World, rng: Random) -> None:
    name = rng.choice(list(VARIABLES))
    world.variables[name] = rng.choice(VARIABLES[name])
    if world.variables[name] == "shared":
        world.variables[name] = str(world.base / "shared")
        (world.base / "shared").mkdir(exist_ok=True)


def _encoding(world: World, rng: Random) -> None:
    world.encoding = rng.choice(["utf-8", "ascii"])


def _settings(world: World, rng: Random) -> None:
    path = world.root / "edgepipe.toml"
    if rng.random() < 0.3:
        path.unlink(missing_ok=True)
    else:
        path.write_text(rng.choice(SETTINGS))


def _plugins(world: World, rng: Random) -> None:
    """A folder of plug-ins that the settings name comes, or goes."""
    folder = world.root / "more"
    (folder / "other").mkdir(parents=True, exist_ok=True)
    if (folder / "plug").exists():
        shutil.rmtree(folder / "plug")
    else:
        _write(folder / "plug" / "uses.py", USES)


def _own_file(world: World, rng: Random) -> None:
    """Another text of the same size, with its time put back or not; or a new file."""
    names = [name for name in FILES if name not in {"edgepipe.toml", "q.yaml"}]
    path = world.root / rng.choice(names)
    text = path.read_text()
    for old, new in (("1", "3"), ("3", "1"), ("2", "4"), ("4", "2")):
        if old in text:
            text = text.replace(old, new)
            break
    before = path.stat()
    if rng.random() < 0.5:
        path.unlink()
    path.write_text(text)
    if rng.random() < 0.5:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _link(world: World, rng: Random) -> None:
    place, targets = rng.choice(
        [
            ("data/link", ["v1", "v2", "v1/a"]),
            ("plugins/_linked.py", ["../linked/one.py", "../linked/two.py"]),
        ]
    )
    (world.root / place).unlink()
    (world.root / place).symlink_to(rng.choice(targets))


def _mode(world: World, rng: Random) -> None:
    files = _files(world.root) + _files(world.cache)
    rng.choice(files).chmod(rng.choice([0o644, 0o444, 0o600]))


def _move(world: World, rng: Random) -> None:
    """The project elsewhere, or another one of the same content in its place."""
    world.moves += 1
    old = world.root
    world.root = old.rename(world.base / "outer" / f"p{world.moves}")
    if rng.random() < 0.5:
        ignore = shutil.ignore_patterns(*rng.choice([[], [".edgepipe"], ["state"]]))
        shutil.copytree(world.root, old, symlinks=True, ignore=ignore)
        world.root = old


def _object(world: World, rng: Random) -> None:
    found = [p for n in ("objects", "records") for p in _files(world.cache / n)]
    _damage(found, rng)


def _remembered(world: World, rng: Random) -> None:
    found = _files(world.cache / "noop")
    if len(found) > 1 and rng.random() < 0.3:
        one, other = rng.sample(found, 2)
        one.write_bytes(other.read_bytes())
    else:
        _damage(found, rng)


def _state(world: World, rng: Random) -> None:
    _damage([*_files(world.root / ".edgepipe" / "state"), world.cache / "verified"], rng)


def _run(world: World, rng: Random) -> None:
    folder = world.root / ".edgepipe" / "runs"
    runs = sorted(folder.iterdir()) if folder.is_dir() else []
    if runs and rng.random() < 0.3:
        shutil.rmtree(rng.choice(runs))
    else:
        _damage([file for run in runs for file in _files(run)], rng)


def _all_runs(world: World, rng: Random) -> None:
    place = rng.choice([".edgepipe/runs", ".edgepipe/state", ".edgepipe"])
    shutil.rmtree(world.root / place, ignore_errors=True)


def _damage(files: list[Path], rng: Random) -> None:
    files = [file for file in files if file.exists() and file.stat().st_size]
    if not files:
        return
    path, how = rng.choice(files), rng.choice(["flip", "cut", "unlink", "garbage"])
    if how == "flip":
        flip(path, rng.randrange(10**6))
    elif how == "cut":
        os.truncate(path, rng.randrange(path.stat().st_size))
    elif how == "garbage":
        path.chmod(0o644)
        path.write_bytes(b"\0garbage")
    else:
        path.unlink()


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


MORE: dict[str, Callable[[World, Random], None]] = {
    "new file": _new_file,
    "environment": _variable,
    "encoding": _encoding,
    "settings": _settings,
    "plugins": _plugins,
    "own file": _own_file,
    "link": _link,
    "mode": _mode,
    "move": _move,
    "object": _object,
    "remembered": _remembered,
    "state": _state,
    "run": _run,
    "all runs": _all_runs,
}
ALL = [*EDITS, *MORE, *MORE, *MORE]
"""More often what concerns all pipelines."""
