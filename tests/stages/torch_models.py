"""TorchModel artifacts for tests: described, saved, and read file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from edgepipe_stages import Interface
from edgepipe_stages._torch_model import save_model

INTERFACE = Interface(32, 32, 3, (0.5,) * 3, (0.25,) * 3, tuple("abcde"))


def no_user_code(reference: str) -> Any:
    raise AssertionError(reference)


def describe(arch: str, **more: Any) -> dict[str, Any]:
    return {"interface": INTERFACE.as_json(), "architecture": {"arch": arch}, **more}


def saved(path: Path, name: str, module: nn.Module, description: dict[str, Any]) -> Path:
    folder = path / name
    folder.mkdir()
    save_model(folder, module, description)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}
