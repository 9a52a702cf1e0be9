"""Starts the process of a worker: its interpreter, and what it sees of the surroundings."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from edgepipe.executor import Job
from edgepipe.machine import gpus_present
from edgepipe.temporary import Temporary

_BOOTSTRAP = Path(__file__).parent.parent / "worker" / "bootstrap.py"
_OURS = {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
"""Variables that would lead another interpreter to this one's packages."""

_SECRETS = {"EDGEPIPE_SIGNING_KEY", "EDGEPIPE_REMOTE"}
"""Variables that are not for stages."""


def start_worker(job: Job, messages: int, temporary: Temporary) -> subprocess.Popen[bytes]:
    """Start a worker that can serve a job, and others with the same needs.

    Args:
        job: the first one.
        messages: the file descriptor that it writes to.
        temporary: where its folder of temporary files is made.

    Raises:
        OSError: the interpreter cannot be started.
    """
    count = str(job.threads)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _SECRETS},
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        # Threads that spin long for their next work lose a core to any neighbor for seconds;
        # with a short spin a training alone is as fast, and beside a neighbor 2.6 times.
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
    }
    environment |= _visible(job.gpus)
    with contextlib.suppress(OSError):
        # Converters copy whole models into temporary files, and leave them when killed.
        environment["TMPDIR"] = str(temporary.new())
    command = [sys.executable, "-m", "edgepipe.worker", str(messages)]
    if job.interpreter:
        command = [job.interpreter, "-P", str(_BOOTSTRAP), str(messages)]
        environment = _foreign(environment, job.interpreter)
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        pass_fds=(messages,),
        env=environment,
        start_new_session=True,
    )


def _visible(gpus: str) -> dict[str, str]:
    """Shows a process its GPUs and no others; nothing to say on a machine that has none."""
    if not gpus and not gpus_present():
        return {}
    numbers = [int(number) for number in gpus.split(",") if number]
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in numbers]
    if seen is not None:
        names = [seen.split(",")[number].strip() for number in numbers]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names)}


def _foreign(environment: dict[str, str], interpreter: str) -> dict[str, str]:
    """What a worker in another environment sees: none of our packages, and its own commands."""
    kept = {name: value for name, value in environment.items() if name not in _OURS}
    path = f"{Path(interpreter).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "PYTHONNOUSERSITE": "1", "EDGEPIPE_PLAIN_PARAMETERS": "1"}
