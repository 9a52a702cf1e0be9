"""What libraries keep for their whole process is set back as it is when these are imported.

Only what stages are known to change, and to forget: a number's digits in a text, a default type, a
file that messages go to. Nothing is imported for it: what is not loaded was not changed.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

_Setting = tuple[Any, Any, Callable[[], object]]
"""What it is, what it was, and what sets it back."""

_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_NUMPY_PRINTS: dict[str, Any] = {
    "precision": 8,
    "threshold": 1000,
    "edgeitems": 3,
    "linewidth": 75,
    "suppress": False,
    "nanstr": "nan",
    "infstr": "inf",
    "sign": "-",
    "floatmode": "maxprec",
    "formatter": None,
    "legacy": False,
}


def restore() -> bool:
    """Set all back; whether something was changed."""
    changed = _let_go_of_files()
    for name, settings in _READERS.items():
        if (module := sys.modules.get(name)) is None:
            continue
        # Another version of a library may lack one, or its import may have failed halfway.
        with contextlib.suppress(AttributeError, RuntimeError, TypeError):
            for now, before, set_back in settings(module):
                if now != before:
                    set_back()
                    changed = True
    return changed


def _let_go_of_files() -> bool:
    """What other jobs log must not go into files that this one has written, and published by now."""
    changed = False
    loggers = (logging.root, *logging.root.manager.loggerDict.values())
    for logger in [known for known in loggers if isinstance(known, logging.Logger)]:
        for handler in list(logger.handlers):
            # One that writes to the root's stream is of `basicConfig`, which does nothing twice.
            basic = logger is logging.root and type(handler) is logging.StreamHandler
            if basic or isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
                with contextlib.suppress(OSError, ValueError):
                    handler.close()
                changed = True
    return changed


def _gc(_: ModuleType) -> Iterator[_Setting]:
    yield gc.isenabled(), True, gc.enable


def _logging(_: ModuleType) -> Iterator[_Setting]:
    root = logging.root
    yield root.level, logging.WARNING, lambda: root.setLevel(logging.WARNING)
    yield root.manager.disable, 0, lambda: logging.disable(logging.NOTSET)


def _socket(socket: Any) -> Iterator[_Setting]:
    yield socket.getdefaulttimeout(), None, lambda: socket.setdefaulttimeout(None)


def _multiprocessing(multiprocessing: Any) -> Iterator[_Setting]:
    # May be set once only.
    now = multiprocessing.get_start_method(allow_none=True)
    yield now, None, lambda: multiprocessing.set_start_method(None, force=True)


def _numpy(numpy: Any) -> Iterator[_Setting]:
    yield numpy.geterr(), _NUMPY_ERRORS, lambda: numpy.seterr(**_NUMPY_ERRORS)
    prints = numpy.get_printoptions()
    now = {name: prints.get(name, value) for name, value in _NUMPY_PRINTS.items()}
    yield now, _NUMPY_PRINTS, lambda: numpy.set_printoptions(**_NUMPY_PRINTS)


def _torch(torch: Any) -> Iterator[_Setting]:
    number = torch.float32
    yield torch.get_default_dtype(), number, lambda: torch.set_default_dtype(number)
    device = str(torch.get_default_device())
    yield device, "cpu", lambda: torch.set_default_device(None)
    yield torch.is_grad_enabled(), True, lambda: torch.set_grad_enabled(True)
    threads = int(os.environ.get("OMP_NUM_THREADS") or torch.get_num_threads())
    yield torch.get_num_threads(), threads, lambda: torch.set_num_threads(threads)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield deterministic, False, lambda: torch.use_deterministic_algorithms(False)
    precision = torch.get_float32_matmul_precision()
    yield precision, "highest", lambda: torch.set_float32_matmul_precision("highest")
    prints = torch._tensor_str.PRINT_OPTS
    yield prints, type(prints)(), lambda: torch.set_printoptions(profile="default")


def _matplotlib(matplotlib: Any) -> Iterator[_Setting]:
    before = dict(matplotlib.rcParams.copy())
    matplotlib.rc_file_defaults()
    yield before, dict(matplotlib.rcParams.copy()), lambda: None
    # The next one would draw into the same figure.
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        yield bool(pyplot.get_fignums()), False, lambda: pyplot.close("all")


_READERS: dict[str, Callable[[Any], Iterator[_Setting]]] = {
    "gc": _gc,
    "logging": _logging,
    "matplotlib": _matplotlib,
    "multiprocessing": _multiprocessing,
    "numpy": _numpy,
    "socket": _socket,
    "torch": _torch,
}
"""By the module that is asked."""
