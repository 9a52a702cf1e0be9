"""model.checkpoint: a known architecture with weights from a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from edgepipe.stage import Context, Field, Stage, UserPath, optional
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._architecture import Architecture, architecture_problems
from edgepipe_stages._imported import (
    Input,
    check_network,
    interface_problems,
    save_checked,
    the_interface,
)


class Checkpoint(Stage):
    """An architecture with weights that were trained elsewhere.

    A ``.pt`` is read as data: one that carries code is refused.
    """

    inputs = {"data": optional(ImageDataset)}
    outputs = {"model": TorchModel}
    requires = ("torch", "safetensors")

    model: Architecture = Field(description="the architecture that the weights are for")
    weights: UserPath = Field(description="a .safetensors file, or a .pt with a state dict")
    head: Literal["keep", "reinitialize"] = Field(
        "keep",
        description="reinitialize: random weights for a last layer of another number of classes",
    )
    interface: Input | None = Field(None, description="instead of connecting 'data'")

    def needs(self) -> tuple[str, ...]:
        return (*self.requires, *self.model.distributions)

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        return [
            *architecture_problems(self.model),
            *interface_problems(self.interface, connected),
        ]

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._torch_model import build, load_weights, prepare_torch
        from edgepipe_stages._weights import read_weights, with_fresh_head

        prepare_torch(ctx.seed, ctx.threads)
        interface = the_interface(self.interface, ctx)
        module = build(self.model.model_dump(), interface, ctx.user_object)
        tensors = read_weights(ctx.project / self.weights, module)
        if self.head == "reinitialize":
            check_network(module, interface)
            tensors, replaced = with_fresh_head(tensors, module, interface)
            if replaced:
                ctx.warn(f"random weights for the last layer: {', '.join(replaced)}")
        load_weights(module, tensors)
        save_checked(ctx, module, self.model, interface)
