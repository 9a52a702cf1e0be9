"""What Python and libraries keep for their whole process is set back to what it was after they were
imported.

Only what stages are known to change, and to forget: a number's digits in a text, a default type, a
file that messages go to. Nothing is imported for it: what is not loaded was not changed.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_Setting = tuple[Callable[[Any], Any], Callable[[Any, Any], object]]
"""Reads it from its module, and writes it there."""


class Settings:
    """The settings of this process as they have to be when a job begins."""

    def __init__(self) -> None:
        self._wanted = _read()

    @contextlib.contextmanager
    def imports(self) -> Iterator[None]:
        """What is set within comes from the import of something that stays: it is kept, since the
        next job would not import it again.
        """
        before = _read()
        try:
            yield
        finally:
            for place, value in _read().items():
                if place not in before:
                    self._wanted[place] = value
                elif value != before[place]:
                    wanted = self._wanted.get(place, before[place])
                    self._wanted[place] = _merged(wanted, before[place], value)

    def restore(self) -> bool:
        """Set all back; whether something was changed."""
        changed = _let_go_of_files()
        for (name, number), value in _read().items():
            wanted = self._wanted.setdefault((name, number), value)
            if value != wanted:
                changed = True
                # What a library refuses to take back it may have refused to take, too.
                with contextlib.suppress(Exception):
                    _SETTINGS[name][number][1](sys.modules[name], wanted)
        return changed


def _read() -> dict[tuple[str, int], Any]:
    """All settings that there are, by their place in `_SETTINGS`."""
    found = {}
    for name, settings in _SETTINGS.items():
        if (module := sys.modules.get(name)) is None:
            continue
        for number, (read, _) in enumerate(settings):
            # Another version of a library may lack one, and one that is being imported has none yet.
            with contextlib.suppress(Exception):
                found[name, number] = read(module)
    return found


def _merged(wanted: Any, before: Any, after: Any) -> Any:
    """What was wanted, and what was set meanwhile: of many together only those that were set or taken."""
    if not isinstance(after, dict):
        return after
    kept = {k: v for k, v in wanted.items() if k in after or k not in before}
    return kept | {k: v for k, v in after.items() if k not in before or v != before[k]}


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


def _set_variables(os: Any, variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()


def _handlers(_: Any) -> dict[int, Any]:
    names = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGINT", "SIGPIPE", "SIGTERM", "SIGUSR1")
    known = signal.Signals.__members__
    return {known[name]: signal.getsignal(known[name]) for name in names if name in known}


def _handle(_: Any, handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _calculation(decimal: Any) -> tuple[Any, ...]:
    """The arguments of a context, without flags: those tell only what was calculated."""
    now = decimal.getcontext()
    traps = [condition for condition, is_on in now.traps.items() if is_on]
    return now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp, [], traps


def _style(matplotlib: Any) -> dict[str, Any]:
    # What draws is found out when it is first needed.
    return {k: v for k, v in dict.items(matplotlib.rcParams) if not k.startswith("backend")}


def _figures(_: Any) -> list[int]:
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    return [] if pyplot is None else list(pyplot.get_fignums())


def _device(torch: Any) -> str | None:
    # `get_default_device` makes a tensor there, which a machine without it cannot.
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else str(context.device)


_SETTINGS: dict[str, tuple[_Setting, ...]] = {
    "decimal": ((_calculation, lambda decimal, made: decimal.setcontext(decimal.Context(*made))),),
    "gc": ((lambda gc: gc.isenabled(), lambda gc, on: gc.enable() if on else gc.disable()),),
    "locale": (
        (
            lambda locale: locale.setlocale(locale.LC_ALL),
            lambda locale, to: locale.setlocale(locale.LC_ALL, to),
        ),
    ),
    "logging": (
        (lambda logging: logging.root.level, lambda logging, level: logging.root.setLevel(level)),
        (lambda logging: logging.root.manager.disable, lambda logging, n: logging.disable(n)),
    ),
    "matplotlib": (
        (_style, lambda matplotlib, style: matplotlib.rcParams.update(style)),
        (_figures, lambda _, __: sys.modules["matplotlib.pyplot"].close("all")),
    ),
    "multiprocessing": (
        (
            lambda processes: processes.get_start_method(allow_none=True),
            # May be set once only.
            lambda processes, method: processes.set_start_method(method, force=True),
        ),
    ),
    "numpy": (
        (lambda numpy: numpy.geterr(), lambda numpy, errors: numpy.seterr(**errors)),
        (
            lambda numpy: numpy.get_printoptions(),
            lambda numpy, prints: numpy.set_printoptions(**prints),
        ),
    ),
    "os": ((lambda os: dict(os.environ), _set_variables),),
    "signal": ((_handlers, _handle),),
    "socket": (
        (lambda socket: socket.getdefaulttimeout(), lambda socket, s: socket.setdefaulttimeout(s)),
    ),
    "sys": ((lambda sys: sys.getrecursionlimit(), lambda sys, n: sys.setrecursionlimit(n)),),
    "torch": (
        (lambda torch: torch.get_default_dtype(), lambda torch, t: torch.set_default_dtype(t)),
        (_device, lambda torch, device: torch.set_default_device(device)),
        (lambda torch: torch.is_grad_enabled(), lambda torch, on: torch.set_grad_enabled(on)),
        (lambda torch: torch.get_num_threads(), lambda torch, n: torch.set_num_threads(n)),
        (
            lambda torch: torch.are_deterministic_algorithms_enabled(),
            lambda torch, on: torch.use_deterministic_algorithms(on),
        ),
        (
            lambda torch: torch.get_float32_matmul_precision(),
            lambda torch, precision: torch.set_float32_matmul_precision(precision),
        ),
        (
            lambda torch: dict(vars(torch._tensor_str.PRINT_OPTS)),
            lambda torch, prints: vars(torch._tensor_str.PRINT_OPTS).update(prints),
        ),
    ),
}
"""By the module that is asked."""
