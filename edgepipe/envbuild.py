"""Makes locks and builds environments, with pip and venv.

A build holds a lock on the environment's name in the shared folder, writes at the final place
(a venv cannot be moved) and puts the marker there last: what was killed on the way has none, and
is removed by the next build. pip inherits the lock, so that one that outlives a killed sync
still keeps others away.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgepipe.environments import (
    MARKER,
    Environment,
    Lock,
    Locked,
    marker,
    normal,
    write_lock,
)
from edgepipe.errors import ConfigError, EdgepipeError, Problem

Tell = Callable[[str], None]
"""Takes a line that says what is going on: these things take minutes."""

# They would send pip to another place than the environment.
_LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
_VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"


def interpreter(environment: Environment, given: Path | None = None) -> Path:
    """An interpreter of the version that an environment asks for.

    Sought are, in this order: the one given, the one that runs, ``pythonX.Y`` in the search path,
    and what pyenv and uv keep.

    Raises:
        ConfigError: there is none.
    """
    wanted = environment.python
    minor = ".".join(wanted.split(".")[:2])
    if given is not None:
        candidates: Iterator[Path] = iter([given])
    else:
        candidates = _candidates(minor)
    for path in candidates:
        if f"{_version_of(path)}.".startswith(f"{wanted}."):
            return path
    message = f"the environment '{environment.name}' needs Python {wanted}, which is not here"
    if given is not None:
        message = f"{given} is no Python {wanted}, which '{environment.name}' needs"
    hint = "install it, or say where it is: --python PATH"
    raise ConfigError(message, hint)


def _candidates(minor: str) -> Iterator[Path]:
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield Path(folder) / f"python{minor}"
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    data = Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))
    yield from sorted(pyenv.glob(f"versions/{minor}.*/bin/python{minor}"), reverse=True)
    yield from sorted(data.glob(f"uv/python/*-{minor}.*/bin/python{minor}"), reverse=True)


def _version_of(path: Path) -> str:
    """``3.11.7``; empty if it is no interpreter that runs (a shim without a version behind it)."""
    if str(path) == sys.executable:
        return "{}.{}.{}".format(*sys.version_info[:3])
    if not os.access(path, os.X_OK):
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [path, "-I", "-c", _VERSION], capture_output=True, text=True, timeout=20, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""


def lock(environment: Environment, tell: Tell, python: Path | None = None) -> Lock:
    """Let pip resolve an environment's requirements, and write what it chose beside the ``.toml``.

    Only wheels are taken: building from source would run code that no hash covers.

    Raises:
        ConfigError: there is no interpreter for it.
        EdgepipeError: pip finds nothing that fits.
    """
    found = interpreter(environment, python)
    tell(f"resolving {environment.name}: {', '.join(environment.requirements)}")
    with tempfile.TemporaryDirectory(prefix="edgepipe-lock-") as name:
        folder = Path(name)
        _venv(found, folder / "venv")
        report = folder / "report.json"
        arguments = ["--dry-run", "--ignore-installed", "--report", str(report)]
        done = _pip(folder / "venv", [*arguments, *_checked(environment.requirements)])
        if done.failed:
            first, *rest = done.errors or [f"pip ended with status {done.code}"]
            message = f"the environment '{environment.name}' cannot be locked: {first}"
            raise EdgepipeError(message, "\n".join(rest[:4]) or "change its requirements")
        chosen = json.loads(report.read_bytes())["install"]
    packages = {normal(item["metadata"]["name"]): item for item in chosen}
    needed = _needed(environment, packages)
    return write_lock(environment, {name: _locked(name, packages[name]) for name in needed})


def _checked(requirements: Sequence[str]) -> list[str]:
    for text in requirements:
        if text.startswith("-"):
            hint = "options are pip's own settings: PIP_INDEX_URL, pip.conf"
            raise ConfigError(f"'{text}' is an option of pip, no requirement", hint)
    return list(requirements)


def _locked(name: str, item: Mapping[str, Any]) -> Locked:
    hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
    if "sha256" not in hashes:
        message = f"{name} comes from a folder or a repository, which has no hash"
        raise EdgepipeError(message, "build a wheel of it, and name that")
    return Locked(item["metadata"]["version"], (hashes["sha256"],))


def _needed(environment: Environment, packages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What is left of pip's choice without what the environment leaves out."""
    without = set(map(normal, environment.without))
    for name in sorted(without - packages.keys()):
        message = f"'without' of the environment '{environment.name}' names {name}"
        raise ConfigError(message, "nothing requires it: take it out")
    if not without:
        return list(packages)
    found: dict[str, set[str]] = {}
    waiting = [_required(text) for text in environment.requirements]
    while waiting:
        name, extras, _ = waiting.pop()
        known = found.get(name)
        if name in without or name not in packages or (known is not None and extras <= known):
            continue
        found[name] = extras | (known or set())
        for text in packages[name]["metadata"].get("requires_dist") or ():
            other, wanted, condition = _required(text)
            # Other conditions are not read: what pip did not choose is not in its report.
            if condition is None or condition in found[name]:
                waiting.append((other, wanted, None))
    return sorted(found)


def _required(text: str) -> tuple[str, set[str], str | None]:
    """Name, extras and the extra on which a requirement depends (PEP 508)."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?", text)
    if found is None:
        raise ConfigError(f"'{text}' is no requirement", "write NAME==VERSION")
    extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", text)
    extras = {normal(name.strip()) for name in (found[2] or "").split(",") if name.strip()}
    return normal(found[1]), extras, normal(extra[1]) if extra else None


@dataclass(frozen=True)
class Built:
    """A built environment."""

    folder: Path
    seconds: float
    """0 if it was there already."""
    size: int
    """Bytes."""


def sync(environment: Environment, home: Path, tell: Tell, python: Path | None = None) -> Built:
    """Build an environment, unless it is there. Two at once build it once.

    Raises:
        ConfigError: there is no lock that fits, or no interpreter.
        EdgepipeError: a package cannot be had, or fails its hash; nothing is left behind.
    """
    problem = environment.problem()
    if problem is not None:
        raise ConfigError(problem)
    if environment.built(home):
        return _existing(environment.folder(home))
    found = interpreter(environment, python)
    folder = environment.folder(home)
    with _exclusive(folder, tell) as descriptor:
        if environment.built(home):
            return _existing(folder)
        _remove(folder)
        assert environment.lock is not None
        tell(f"building {environment.name}: {len(environment.lock.packages)} packages")
        began = time.monotonic()
        try:
            _venv(found, folder)
            _install(environment, folder, descriptor)
            size = _size(folder)
            seconds = time.monotonic() - began
            _finish(environment, folder, size, seconds)
        except BaseException:
            _remove(folder)
            raise
    return Built(folder, seconds, size)


def _existing(folder: Path) -> Built:
    return Built(folder, 0.0, int((marker(folder) or {}).get("size", 0)))


def remove(folder: Path, tell: Tell) -> None:
    """Remove a built environment, after a sync that is at work on it."""
    with _exclusive(folder, tell):
        _remove(folder)


def _remove(folder: Path) -> None:
    # Without its marker it is no environment any more, however far this comes.
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _exclusive(folder: Path, tell: Tell) -> Iterator[int]:
    """Be the only one that works on an environment, among all processes of this machine."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.busy")
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("another process works on it: waiting")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Whoever had it before has removed the file: then this lock is nobody's.
            same = False
            with contextlib.suppress(FileNotFoundError):
                same = os.path.samestat(os.fstat(descriptor), path.stat())
            if same:
                try:
                    yield descriptor
                finally:
                    path.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _venv(python: Path, folder: Path) -> None:
    # Without pip: ours installs into it, and the environment holds nothing beside its lock.
    command = [str(python), "-I", "-m", "venv", "--without-pip", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environ())
    if done.returncode:
        text = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        hint = "install the interpreter's venv module"
        raise EdgepipeError(f"{python} cannot make an environment: {text[-1]}", hint)


def _install(environment: Environment, folder: Path, descriptor: int) -> None:
    # Only what is used is compiled, when it is imported: that halves the time of a build.
    arguments = ["--require-hashes", "--no-deps", "--no-compile"]
    done = _pip(folder, [*arguments, "-r", str(environment.lock_path)], (descriptor,))
    if not done.failed:
        return
    subject = f"the environment '{environment.name}' cannot be built"
    wrong = re.search(
        r"^\s*(\S+) from .*?\n\s*Expected sha256 (\w+)\n\s*Got\s+(\w+)", done.output, re.MULTILINE
    )
    if wrong:
        message = f"{subject}: {wrong[1]} does not match its hash in {environment.lock_path.name}"
        hint = (
            f"expected sha256 {wrong[2]}\nfound           {wrong[3]}\nif the new file is to be"
            f" trusted: edgepipe env lock {environment.name}"
        )
        raise EdgepipeError(message, hint)
    first, *rest = done.errors or [f"pip ended with status {done.code}"]
    raise EdgepipeError(f"{subject}: {first}", "\n".join(rest[:4]))


def _finish(environment: Environment, folder: Path, size: int, seconds: float) -> None:
    assert environment.lock is not None
    value = {
        "name": environment.name,
        "lock": environment.lock.digest,
        "python": environment.python,
        "packages": {name: p.version for name, p in environment.lock.packages.items()},
        "size": size,
        "seconds": round(seconds, 1),
        "created": time.time(),
    }
    # All files before the marker: after a power loss the marker speaks for them.
    os.sync()
    temporary = folder / f"{MARKER}.tmp"
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / MARKER)


def _size(folder: Path) -> int:
    files = (path.lstat() for path in folder.rglob("*"))
    return sum(about.st_size for about in files)


@dataclass(frozen=True)
class _Pip:
    """How a call of pip ended."""

    code: int
    output: str

    @property
    def failed(self) -> bool:
        return self.code != 0

    @property
    def errors(self) -> list[str]:
        """What it says is wrong."""
        lines = [line.strip() for line in self.output.splitlines()]
        return [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]


def _pip(venv: Path, arguments: Sequence[str], descriptors: Sequence[int] = ()) -> _Pip:
    """``pip install`` into an environment; where packages come from is pip's own setting."""
    if find_spec("pip") is None:
        hint = f"install it: {sys.executable} -m ensurepip"
        raise ConfigError(Problem("edgepipe needs pip to make environments", hint))
    head = [sys.executable, "-I", "-m", "pip", "--python", str(venv / "bin" / "python")]
    settings = ["--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]
    process = subprocess.Popen(
        [*head, "install", *settings, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environ(),
        pass_fds=tuple(descriptors),
        # pip runs itself in the environment: both are ended together.
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return _Pip(process.returncode, output.decode(errors="replace"))


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
