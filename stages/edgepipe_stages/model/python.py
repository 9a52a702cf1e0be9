"""model.python: the user's own network, with weights or fresh."""

from __future__ import annotations

from collections.abc import Iterable

from edgepipe.stage import Context, Field, Stage, UserCode, UserPath, optional
from edgepipe_stages import ImageDataset, TorchModel
from edgepipe_stages._architecture import Architecture
from edgepipe_stages._imported import Input, interface_problems, save_checked, the_interface


class PythonModel(Stage):
    """A network from the user's class, or from a function that makes one.

    It is called with ``kwargs`` and with those of ``num_classes``, ``channels``, ``height`` and
    ``width`` that it takes. Without weights they are random.
    """

    inputs = {"data": optional(ImageDataset)}
    outputs = {"model": TorchModel}
    requires = ("torch", "safetensors")

    code: UserCode = Field(description="FILE.py:NAME or MODULE:NAME")
    kwargs: dict[str, bool | int | float | str | None] = Field(
        {}, description="keyword arguments for it"
    )
    weights: UserPath | None = Field(
        None, description="a .safetensors file, or a .pt with a state dict; default: random"
    )
    interface: Input | None = Field(None, description="instead of connecting 'data'")

    def preflight(self, connected: frozenset[str]) -> Iterable[tuple[str, str, str]]:
        return interface_problems(self.interface, connected)

    def run(self, ctx: Context) -> None:
        from edgepipe_stages._torch_model import build, load_weights, prepare_torch
        from edgepipe_stages._weights import read_weights

        prepare_torch(ctx.seed, ctx.threads)
        interface = the_interface(self.interface, ctx)
        architecture = Architecture.model_validate(
            {"arch": f"python:{self.code}", "kwargs": self.kwargs}
        )
        module = build(architecture.model_dump(), interface, ctx.user_object)
        if self.weights is not None:
            load_weights(module, read_weights(ctx.project / self.weights, module))
        save_checked(ctx, module, architecture, interface)
