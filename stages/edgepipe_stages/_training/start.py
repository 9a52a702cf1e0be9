"""The network that a training starts from: a fresh one, or a trained one with a fitting head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from edgepipe.stage import Context, StageError
from edgepipe_stages import Dataset, Interface, TorchModel
from edgepipe_stages._architecture import Architecture
from edgepipe_stages._plain_weights import make_plain
from edgepipe_stages._torch_model import build, load_model, prepare_torch
from edgepipe_stages._training.images import Images
from edgepipe_stages._training.layout import choose_layout


@dataclass(frozen=True)
class Start:
    """A network on its way to be trained, and the images in its layout."""

    module: nn.Module
    description: dict[str, Any]
    train: Images
    test: Images

    @property
    def interface(self) -> Interface:
        """What the network takes and gives."""
        return self.train.interface


def start(ctx: Context, architecture: Architecture | None) -> Start:
    """Seed torch, and get ready what the inputs ``data`` and ``init`` hold.

    Raises:
        StageError: see `starting_point`.
    """
    prepare_torch(ctx.seed, ctx.threads)
    data: Dataset = ctx.input("data")
    module, description = starting_point(ctx, architecture, ctx.path("init"), data.interface)
    interface = Interface.from_json(description["interface"])
    layout = choose_layout(module, interface)
    train, test = (Images.of(split, interface, layout) for split in (data.train, data.test))
    return Start(module, description, train, test)


def starting_point(
    ctx: Context, architecture: Architecture | None, init: Path | None, data: Interface
) -> tuple[nn.Module, dict[str, Any]]:
    """A module to train, and its description.

    A trained one keeps its normalization. If it has another number of classes than the data,
    the layers whose size depends on it start anew.

    Args:
        ctx: gives the user's code.
        architecture: of a fresh network.
        init: the artifact of a trained one; it comes before ``architecture``.
        data: the interface of the data set.

    Raises:
        StageError: neither is there, or the trained one does not fit the data.
    """
    if init is None:
        if architecture is None:
            raise StageError("there is nothing to train", "give 'model', or connect 'init'")
        description = architecture.model_dump(mode="json")
        module = build(description, data, ctx.user_object)
        return module, {"architecture": description, "interface": data.as_json()}
    trained = load_model(init, ctx.user_object)
    described = TorchModel.describe(init)
    own = TorchModel.interface(init)
    if own.classes == data.classes:
        return trained, described
    if described.get("resized"):
        raise StageError(
            f"a pruned model of {len(own.classes)} classes cannot learn {len(data.classes)} others",
            "train it for the new classes first, then prune it",
        )
    if sorted(own.classes) == sorted(data.classes):
        ctx.warn("'init' has the data's classes in another order, which its last layer unlearns")
    interface = replace(own, classes=data.classes)
    module = build(described["architecture"], interface, ctx.user_object)
    make_plain(module, described.get("plain", ()))
    _copy_all_but_head(trained, module, own, interface)
    return module, {**described, "interface": interface.as_json()}


def _copy_all_but_head(
    trained: nn.Module, module: nn.Module, own: Interface, interface: Interface
) -> None:
    tensors = dict(trained.state_dict())
    fresh: Mapping[str, Any] = module.state_dict()
    for name, tensor in fresh.items():
        found = tensors.get(name)
        if found is not None and found.shape == tensor.shape:
            continue
        of_classes = (
            found is not None
            and found.shape[:1] == (len(own.classes),)
            and tensor.shape == (len(interface.classes), *found.shape[1:])
        )
        if not of_classes:
            raise StageError(
                f"the weights '{name}' of 'init' do not fit the network for the new classes",
                "connect a model whose size depends on the classes in its last layer only",
            )
        tensors[name] = tensor
    module.load_state_dict(tensors)
