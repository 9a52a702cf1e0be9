"""What a node sets for its whole process is not there for the next one; what its modules set, is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from projects import Folder

from edgepipe.worker.settings import Settings

HEAD = """\
from edgepipe.stage import Context, Folder, Stage
import _set


class Tells(Stage):
    outputs = {"out": Folder}
    number: int

    def run(self, ctx: Context) -> None:
        (ctx.output("out") / "found").write_text(str(_set.tell(ctx.output("out"))))
"""
IMPORTED = """\
import decimal
import os
import sys

decimal.getcontext().prec = 50
sys.setrecursionlimit(7000)


def tell(folder):
    return decimal.Decimal(1) / 3, sys.getrecursionlimit()
"""
LOGS = """\
import logging


def tell(folder):
    logging.basicConfig(filename=folder / "root.log", level=logging.INFO)
    own = logging.getLogger("own")
    own.addHandler(logging.FileHandler(folder / "own.log"))
    own.info("one line")
"""
LIBRARY = """\
import decimal
import os
import signal
import sys

import numpy as np

np.seterr(all="raise")
decimal.getcontext().prec = 40
os.environ["OF_A_LIBRARY"] = "set"
os.environ.pop("TAKEN_BY_A_LIBRARY")
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
sys.setrecursionlimit(7000)
"""
USES = """\
import decimal
import locale
import os
import signal
import sys

import numpy as np


def tell(folder):
    before = locale.setlocale(locale.LC_ALL), signal.getsignal(signal.SIGTERM)
    locale.setlocale(locale.LC_ALL, "C.UTF-8" if before[0] == "C" else "C")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.environ["OF_A_STAGE"] = "set"

    import beside

    now = decimal.getcontext()
    found = [
        *before, now.prec, now.flags[decimal.Inexact], np.geterr(), sys.getrecursionlimit(),
        signal.getsignal(signal.SIGUSR1), os.environ["OF_A_LIBRARY"], sorted(os.environ),
        signal.getitimer(signal.ITIMER_REAL),
    ]
    signal.setitimer(signal.ITIMER_REAL, 300)
    now.prec = 7
    decimal.Decimal(1) / 3
    np.seterr(under="warn")
    sys.setrecursionlimit(8000)
    return found, beside.__name__
"""
CALCULATES = """\
import decimal


def tell(folder):
    found = decimal.getcontext().flags[decimal.Inexact]
    decimal.Decimal(1) / 3
    return found
"""
LIBRARIES = """\
import gc
import logging
import multiprocessing
import os
import socket
import time

import numpy as np
import torch


def tell(folder):
    found = (
        gc.isenabled(), logging.root.level, logging.root.manager.disable, time.tzname,
        socket.getdefaulttimeout(), np.geterr(), repr(np.array([1 / 3])),
        torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_default_device(),
        torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(), repr(torch.tensor([0.123456], dtype=torch.float32)),
    )
    gc.disable()
    logging.root.setLevel(logging.DEBUG)
    logging.disable(logging.CRITICAL)
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    socket.setdefaulttimeout(1.0)
    multiprocessing.set_start_method("spawn")
    np.seterr(all="raise")
    np.set_printoptions(precision=2, suppress=True)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.set_printoptions(precision=1)
    return found
"""


@pytest.mark.parametrize("code", [IMPORTED, LOGS, LIBRARIES, USES, CALCULATES])
def test_nodes_of_one_worker_find_the_same(
    project: Folder, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A library that is installed sets something of another while it is imported: it stays.
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "beside.py").write_text(LIBRARY)
    paths = (os.environ.get("PYTHONPATH", ""), str(tmp_path / "library"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("TAKEN_BY_A_LIBRARY", "set")
    find_the_same(project, code)


def find_the_same(project: Folder, code: str) -> None:
    project.write("plugins/tells.py", HEAD)
    project.write("plugins/_set.py", code)
    project.write(
        "p.yaml", "edgepipe: 1\nname: p\nstages: {s: {uses: tells, matrix: {number: [1, 2]}}}\n"
    )
    done = project.edgepipe("run", "p.yaml", "--jobs", "1", "--json")
    assert done.code == 0, done.err + done.out
    first, second = (node["outputs"]["out"]["digest"] for node in done.json["nodes"])
    assert first == second
    assert project.edgepipe("cache", "verify").code == 0


@pytest.fixture
def matplotlib(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What stands in for it: it is not among what the tests install."""
    matplotlib, pyplot = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    figures: list[int] = []
    vars(matplotlib).update(rcParams={"font.size": 10.0, "backend": None}, figures=figures)
    vars(pyplot).update(get_fignums=lambda: figures, close=lambda _: figures.clear())
    monkeypatch.setitem(sys.modules, "matplotlib", matplotlib)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    return matplotlib


def test_figures_and_styles_are_not_the_next_ones(matplotlib: Any) -> None:
    settings = Settings()
    # What the tests themselves write their logs to.
    settings.restore()
    matplotlib.rcParams.update({"font.size": 40.0, "backend": "agg"})
    matplotlib.figures.append(1)
    assert settings.restore()
    assert matplotlib.rcParams == {"font.size": 10.0, "backend": "agg"}
    assert not matplotlib.figures
    with settings.imports():
        matplotlib.rcParams["font.size"] = 8.0
    assert not settings.restore()
    assert matplotlib.rcParams["font.size"] == 8.0


def test_a_device_that_is_not_there_is_set_back(project: Folder) -> None:
    code = """\
import torch


def tell(folder):
    found = torch.is_grad_enabled()
    torch.set_default_device("cuda")
    torch.set_grad_enabled(False)
    return found, str(torch._GLOBAL_DEVICE_CONTEXT.device_context.device)
"""
    find_the_same(project, code)


def test_plugins_that_python_finds_anyhow_are_imported_once(
    project: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("edgepipe.toml", 'plugins = ["plugins", "mine"]\n')
    project.write("mine/moment.py", "import time\n\nNOW = time.time_ns()\n")
    paths = (os.environ.get("PYTHONPATH", ""), str(project.path / "mine"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    find_the_same(project, "import moment\n\n\ndef tell(folder):\n    return moment.NOW\n")
