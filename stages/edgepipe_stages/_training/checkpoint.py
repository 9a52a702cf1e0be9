"""A loop's state on disk: one file, replaced by one rename, so that a kill leaves a whole one."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load, save

from edgepipe_stages._training.loop import Loop


def save_checkpoint(path: Path, loop: Loop) -> None:
    """Write the state of a loop: tensors, plain data as one of them, and a checksum of all."""
    state = loop.state_dict()
    tensors = {name: t.detach().clone().contiguous() for name, t in state.pop("tensors").items()}
    plain = bytearray(json.dumps(state), "utf-8")
    content = save({**tensors, "plain": torch.frombuffer(plain, dtype=torch.uint8)})
    partial = path.with_suffix(".partial")
    partial.write_bytes(content + sha256(content).digest())
    partial.replace(path)


def load_checkpoint(path: Path, loop: Loop) -> bool:
    """Let a loop go on from what a loop with the same arguments wrote.

    Returns:
        whether it does; without a checkpoint it stays as it was.

    Raises:
        ValueError: the file is damaged; the loop is as it was.
    """
    if not path.is_file():
        return False
    content = path.read_bytes()
    content, checksum = content[:-32], content[-32:]
    if sha256(content).digest() != checksum:
        raise ValueError(f"{path.name} is damaged")
    tensors = load(content)
    state = json.loads(bytes(tensors.pop("plain").numpy()))
    loop.load_state_dict({**state, "tensors": tensors})
    return True
