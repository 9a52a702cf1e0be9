"""Reads the user's weight files, without running what they carry."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface
from edgepipe_stages._pruning.layers import output_layers

MAX_BYTES = 4 * 2**30
"""A weight file may have this many bytes, unpacked too."""

_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
"""Where training scripts put a model's tensors beside the optimizer's."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every name."""


def read_weights(path: Path, module: nn.Module) -> dict[str, Tensor]:
    """A state dict from a safetensors file or from a ``.pt`` that holds tensors only.

    Args:
        path: the file.
        module: what the weights are for; names lose prefixes that it does not know.

    Raises:
        StageError: the file is too large, damaged, carries code, or holds something else.
    """
    _check_size(path)
    if path.suffix == ".safetensors":
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise StageError(f"{path.name} is no valid safetensors file: {error}") from error
        return _named_for(module, tensors)
    try:
        with warnings.catch_warnings():
            # What cannot be read of another pickle protocol raises, which is enough.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise StageError(
            f"{path.name} carries more than tensors, and was not read: loading it could run code",
            "save the tensors alone: torch.save(model.state_dict(), 'weights.pt')",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        # The text of these says nothing: "101".
        mute = isinstance(error, EOFError | KeyError)
        reason = "" if mute else f": {str(error).partition(chr(10))[0]}"
        raise StageError(
            f"{path.name} is no valid PyTorch file{reason}",
            "give a .safetensors file, or a .pt that torch.save wrote",
        ) from error
    return _named_for(module, _state_dict(path.name, value))


def _check_size(path: Path) -> None:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(info.file_size for info in archive.infolist()))
    if size > MAX_BYTES:
        raise StageError(
            f"{path.name} holds {size} bytes, more than {MAX_BYTES}",
            "give the weights alone, without the optimizer's state",
        )


def _state_dict(name: str, value: Any) -> dict[str, Tensor]:
    for _ in range(len(_WRAPPERS)):
        if not isinstance(value, Mapping):
            break
        inner = [value[key] for key in _WRAPPERS if isinstance(value.get(key), Mapping)]
        if not inner:
            break
        value = inner[0]
    if not isinstance(value, Mapping):
        raise StageError(
            f"{name} holds no state dict but a value of type {type(value).__name__}", _SAVE
        )
    if not value or not all(isinstance(item, Tensor) for item in value.values()):
        raise StageError(f"{name} holds no state dict: {_found(value)}", _advice(value))
    return {str(key): item for key, item in value.items()}


_SAVE = "write torch.save(model.state_dict(), …)"


def _found(value: Mapping[Any, Any]) -> str:
    """What is there instead."""
    if not value:
        return "it is empty"
    tensors = any(isinstance(item, Tensor) for item in value.values())
    others = [f"'{key}'" for key, item in value.items() if not isinstance(item, Tensor)]
    more = f" and {len(others) - _FEW} more" if len(others) > _FEW else ""
    listed = ", ".join(others[:_FEW]) + more
    return f"beside tensors it holds {listed}" if tensors else f"its keys are {listed}"


def _advice(value: Mapping[Any, Any]) -> str:
    states = [
        key
        for key, item in value.items()
        if isinstance(item, Mapping) and item and all(isinstance(t, Tensor) for t in item.values())
    ]
    if states:
        which = " or ".join(f"'{key}'" for key in states[:_FEW])
        return f"if {which} is the network, save that part alone with torch.save"
    return f"{_SAVE}; beside other things it is found as {', '.join(_WRAPPERS)}"


_FEW = 5


def _named_for(module: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    own = module.state_dict()
    while tensors and not own.keys() & tensors.keys():
        # A training script's own tensors may lie beside the network's: a loss has weights, too.
        found = {p: sum(name.startswith(p) for name in tensors) for p in _PREFIXES}
        prefix = max(_PREFIXES, key=found.__getitem__)
        if 2 * found[prefix] <= len(tensors):
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    # Files from before PyTorch 0.4.1 lack these counters, torchvision's among them.
    counters = {name: own[name] for name in own if name.endswith(".num_batches_tracked")}
    return counters | tensors


def with_fresh_head(
    tensors: dict[str, Tensor], module: nn.Module, interface: Interface
) -> tuple[dict[str, Tensor], list[str]]:
    """Weights for another number of classes.

    Those of the layers that give the scores are the module's own where their shapes differ.

    Returns:
        the weights, and the names of those that were replaced.
    """
    own = module.state_dict()
    heads = output_layers(module, interface)
    prefixes = tuple(f"{name}." for name, part in module.named_modules() if part in heads)
    replaced = [
        name
        for name, tensor in own.items()
        if name.startswith(prefixes) and name in tensors and tensors[name].shape != tensor.shape
    ]
    return tensors | {name: own[name] for name in replaced}, replaced
