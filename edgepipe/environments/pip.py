"""The processes behind environments: interpreters, venv and pip."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from edgepipe.environments import Environment
from edgepipe.errors import ConfigError, EdgepipeError, Problem

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


def make_venv(python: Path, folder: Path) -> None:
    """An empty environment of an interpreter. Raises EdgepipeError where it has no venv module."""
    # Without pip: ours installs into it, and the environment holds nothing beside its lock.
    command = [str(python), "-I", "-m", "venv", "--without-pip", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environ())
    if done.returncode:
        text = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        hint = "install the interpreter's venv module"
        raise EdgepipeError(f"{python} cannot make an environment: {text[-1]}", hint)


@dataclass(frozen=True)
class Pip:
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


def pip_install(venv: Path, arguments: Sequence[str], descriptors: Sequence[int] = ()) -> Pip:
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
    return Pip(process.returncode, output.decode(errors="replace"))


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
