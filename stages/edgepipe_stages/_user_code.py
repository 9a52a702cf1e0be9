"""A digest of the user's code that a network runs, for its description.

Stages further down load the network again. What they make of it depends on that code, which
their keys would not show: the weights may be the same after an edit of ``forward``.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from torch import nn

_INSTALLED = tuple(
    {f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OURS = ("edgepipe", "edgepipe_stages")


def code_digest(reference: str, model: nn.Module) -> str:
    """Digest of the source files that define a network, and of those they use.

    Args:
        reference: ``FILE.py:NAME`` or ``MODULE:NAME``, already imported.
        model: the network that it made.
    """
    place = reference.rpartition(":")[0]
    loaded = list(sys.modules.items())
    waiting = [
        module for name, module in loaded if name == place or _file(module).endswith(f"/{place}")
    ]
    waiting += [sys.modules[type(part).__module__] for part in model.modules()]
    sources: dict[str, bytes] = {}
    while waiting:
        module = waiting.pop()
        file = _file(module)
        if file in sources or not _is_users(module):
            continue
        sources[file] = Path(file).read_bytes()
        waiting.extend(_used(module, sources[file]))
    digests = sorted(hashlib.sha256(source).digest() for source in sources.values())
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _used(module: ModuleType, source: bytes) -> Iterable[ModuleType]:
    """The modules that a source file imports, as far as they are loaded."""
    package = (module.__package__ or "").split(".")
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (sys.modules[name] for name in names if name in sys.modules)


def _file(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or "")


def _is_users(module: ModuleType) -> bool:
    file = _file(module)
    return (
        file.endswith(".py")
        and module.__name__.partition(".")[0] not in _OURS
        and not file.startswith(_INSTALLED)
    )
