"""How a TorchModel artifact becomes a module, and a module an artifact.

The weights are in ``weights.safetensors``; ``model.json`` holds

- ``interface``: see `Interface.as_json`;
- ``architecture``: the parameters of `Architecture`;
- ``resized``, for a network whose layers were made smaller: for each module that differs from a
  fresh one, its attributes and the shapes of its parameters;
- ``plain``: modules whose weights were computed from others, and are plain now;
- ``shared``: tensors that are another one under a second name;
- ``code``: what defines a network that is not ours, by its digest or version.

All of it is data: what runs is our code, the installed library's, or the user's class that the
architecture names.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgepipe.stage import StageError
from edgepipe_stages import Interface, TorchModel
from edgepipe_stages._architecture import Architecture, architecture_problems
from edgepipe_stages._networks import create
from edgepipe_stages._plain_weights import make_plain
from edgepipe_stages._user_code import code_digest

UserObject = Callable[[str], Any]
"""`Context.user_object`: the user's class that a reference names."""


def prepare_torch(seed: int, threads: int) -> None:
    """Seed every generator and ask for deterministic kernels: same seed and machine, same bytes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    # A plug-in that ran before in this process may have left others.
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Filling fresh memory finds reads of it in somebody's kernel, and costs time in each.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def build(
    architecture: Mapping[str, Any], interface: Interface, user_object: UserObject
) -> nn.Module:
    """A fresh module for an interface, with random weights, on the CPU.

    Raises:
        StageError: the architecture is not known, not installed, or cannot be made.
    """
    try:
        parsed = Architecture.model_validate(dict(architecture))
    except ValueError as error:
        raise StageError(f"the model's architecture is not valid: {error}") from error
    for _, message, hint in architecture_problems(parsed):
        raise StageError(message, hint)
    return create(parsed, interface, user_object)


def save_model(path: Path, module: nn.Module, description: Mapping[str, Any]) -> None:
    """Write ``model.json`` and ``weights.safetensors``; equal models give equal bytes.

    Args:
        path: the folder of a TorchModel artifact.
        module: its parameters and buffers are written, floating ones as float32.
        description: ``interface``, ``architecture`` and, where there are any, ``resized`` and
            ``plain``.
    """
    tensors: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in sorted(module.state_dict().items()):
        same = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        # Tensors without elements have one address, and nothing to share.
        if tensor.numel() and same in first:
            shared[name] = first[same]
            continue
        first[same] = name
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        tensors[name] = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    extra = {"shared": shared, "code": _code(description.get("architecture", {}), module)}
    TorchModel.save(path, {**description, **{key: value for key, value in extra.items() if value}})
    save_file(tensors, path / "weights.safetensors")


def _code(architecture: Mapping[str, Any], module: nn.Module) -> str:
    library, colon, reference = str(architecture.get("arch", "")).partition(":")
    if not colon:
        return ""
    if library == "python":
        return code_digest(reference, module)
    return f"{library} {version(library)}"


def load_model(path: Path, user_object: UserObject) -> nn.Module:
    """Read what `save_model` wrote: a module on the CPU, float32, in evaluation mode.

    Raises:
        StageError: a file cannot be read, or the weights do not fit (which tensors).
    """
    description = TorchModel.describe(path)
    module = build(
        description.get("architecture", {}), TorchModel.interface(path), user_object
    ).float()
    make_plain(module, description.get("plain", ()))
    resize(module, description.get("resized", {}))
    try:
        tensors = load_file(path / "weights.safetensors")
        tensors |= {name: tensors[kept] for name, kept in description.get("shared", {}).items()}
    except (OSError, KeyError, SafetensorError) as error:
        raise StageError(f"weights.safetensors cannot be read: {error}") from error
    load_weights(module, tensors)
    return module.eval()


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy weights into a module, all of them and no others.

    Raises:
        StageError: names the tensors that are missing, unexpected, of another shape, no floating
            numbers where the module has such, or parameters with NaN or infinity in them.
    """
    own = module.state_dict()
    wrong = [f"{name} is missing" for name in own if name not in tensors]
    wrong += [f"{name} is unexpected" for name in tensors if name not in own]
    wrong += [
        f"{name}: {tuple(own[name].shape)} expected, {tuple(tensors[name].shape)} found"
        for name in own
        if name in tensors and own[name].shape != tensors[name].shape
    ]
    wrong += [
        f"{name}: {kind}"
        for name in own
        if name in tensors and (kind := _other_kind(own[name], tensors[name]))
    ]
    if wrong:
        raise StageError(
            f"the weights do not fit the model: {len(wrong)} of {len(own | dict(tensors))} tensors"
            " differ",
            _first(wrong),
        )
    # Masks of attention are buffers that hold infinity rightly.
    floats = [name for name, part in module.named_parameters() if part.is_floating_point()]
    lines = [
        f"{name}: {int((~tensors[name].float().isfinite()).sum())} of {own[name].numel()}"
        for name in floats
        if not _is_finite(tensors[name])
    ]
    if lines:
        raise StageError(
            f"the weights hold NaN or infinity, in {len(lines)} of {len(floats)} parameters: the"
            " training that they come from diverged, or the file is damaged",
            _first(lines),
        )
    module.load_state_dict(tensors)


def _other_kind(own: Tensor, found: Tensor) -> str:
    """Why a tensor's values cannot be copied as they are; empty if they can."""
    if found.is_meta:
        return "it has no values, only a shape (device 'meta')"
    if found.layout != torch.strided:
        return "it is sparse: save it with .to_dense()"
    if own.is_floating_point() and not found.is_floating_point():
        kinds = (str(tensor.dtype).removeprefix("torch.") for tensor in (own, found))
        return "{} expected, {} found".format(*kinds)
    return ""


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.numel():
        return True
    if tensor.element_size() == 1:  # for float8 torch has next to no functions
        tensor = tensor.float()
    # NaN is the least and the largest where there is one. isfinite() takes as much memory as the
    # tensor itself, and a benchmark measures the memory that opening a model takes.
    return all(map(isfinite, map(float, tensor.aminmax())))


def _first(lines: list[str]) -> str:
    more = f"\nand {len(lines) - 10} more" if len(lines) > 10 else ""
    return "\n".join(lines[:10]) + more


def resizings(module: nn.Module, reference: nn.Module) -> dict[str, dict[str, Any]]:
    """What turns ``reference``, a fresh build, into the shape of ``module``, a pruned one.

    Returns:
        for each module that differs, by name: the attributes with other values
        (``out_channels``, ``num_features``), and ``shapes`` of its own parameters and buffers.

    Raises:
        StageError: the modules differ in more than sizes.
    """
    fresh = dict(reference.named_modules())
    changed = dict(module.named_modules())
    for name in sorted(fresh.keys() ^ changed.keys()):
        raise StageError(_inexpressible(name, "it was added or removed"))
    result = {}
    for name, part in changed.items():
        if type(part) is not type(fresh[name]):
            kinds = f"it became a {type(part).__name__}"
            raise StageError(_inexpressible(name, kinds))
        if difference := _difference(name, part, fresh[name]):
            result[name] = difference
    return result


def resize(module: nn.Module, resized: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a fresh module the sizes that `resizings` found, in place. Its weights are lost.

    Raises:
        StageError: the module has no such part, or the part no such attribute.
    """
    parts = dict(module.named_modules())
    for name, difference in resized.items():
        part = parts.get(name)
        if part is None:
            raise StageError(f"the model has no module '{name}' to resize")
        for attribute, value in difference.items():
            if attribute == "shapes":
                for tensor, shape in value.items():
                    _reshape(name, part, tensor, shape)
            elif attribute not in _sizes(part):
                raise StageError(f"the model's module '{name}' has no size '{attribute}'")
            else:
                setattr(part, attribute, type(getattr(part, attribute))(value))


def _sizes(part: nn.Module) -> dict[str, int | list[int]]:
    """A module's attributes that are whole numbers or rows of them."""
    sizes: dict[str, int | list[int]] = {}
    for name, value in vars(part).items():
        if name.startswith("_"):
            continue
        if type(value) is int:
            sizes[name] = value
        elif isinstance(value, tuple | list) and value and all(type(v) is int for v in value):
            sizes[name] = list(value)
    return sizes


def _tensors(part: nn.Module) -> dict[str, Tensor]:
    own = {**part._parameters, **part._buffers}
    return {name: tensor for name, tensor in own.items() if tensor is not None}


def _difference(name: str, part: nn.Module, fresh: nn.Module) -> dict[str, Any]:
    sizes, fresh_sizes = _sizes(part), _sizes(fresh)
    tensors, fresh_tensors = _tensors(part), _tensors(fresh)
    if tensors.keys() != fresh_tensors.keys():
        raise StageError(_inexpressible(name, "its parameters have other names"))
    if not sizes.keys() <= fresh_sizes.keys():
        raise StageError(_inexpressible(name, "it has new attributes"))
    result: dict[str, Any] = {
        attribute: value for attribute, value in sizes.items() if value != fresh_sizes[attribute]
    }
    shapes = {
        key: list(tensor.shape)
        for key, tensor in tensors.items()
        if tensor.shape != fresh_tensors[key].shape
    }
    return {**result, "shapes": shapes} if shapes else result


def _reshape(name: str, part: nn.Module, tensor: str, shape: list[int]) -> None:
    old = _tensors(part).get(tensor)
    if old is None:
        raise StageError(f"the model's module '{name}' has no parameter '{tensor}' to resize")
    fresh = torch.empty(shape, dtype=old.dtype)
    if isinstance(old, nn.Parameter):
        part._parameters[tensor] = nn.Parameter(fresh, old.requires_grad)
    else:
        part._buffers[tensor] = fresh


def _inexpressible(name: str, why: str) -> str:
    return f"the change of the model's module '{name}' cannot be written down: {why}"
