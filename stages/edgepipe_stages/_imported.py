"""What model.python and model.checkpoint share: the interface, and the finished artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgepipe.stage import Context, Field, Params, StageError
from edgepipe_stages._artifacts import Dataset, Interface, TorchModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgepipe_stages._architecture import Architecture


class Input(Params):
    """What a network takes and gives, where no data set says it."""

    image_size: tuple[int, int] = Field(description="height and width, in pixels")
    classes: tuple[str, ...] = Field(min_length=2, description="names, in the order of the scores")
    mean: tuple[float, ...] = Field((0.485, 0.456, 0.406), description="of each channel, 0 to 1")
    std: tuple[float, ...] = Field((0.229, 0.224, 0.225), description="of each channel, 0 to 1")

    def interface(self) -> Interface:
        """The same as the artifacts hold it."""
        return Interface(*self.image_size, len(self.mean), self.mean, self.std, self.classes)


def interface_problems(
    interface: Input | None, connected: frozenset[str]
) -> list[tuple[str, str, str]]:
    """For `Stage.preflight`: exactly one of the input ``data`` and the parameter ``interface``."""
    if interface is None:
        if "data" in connected:
            return []
        hint = "connect 'data', whose images the network takes, or set 'interface'"
        return [("", "nothing says what the network takes and gives", hint)]
    problems = []
    if "data" in connected:
        message = "'interface' is set, and 'data' is connected, which says the same"
        problems.append(("interface", message, "keep one of them"))
    if not 1 <= min(interface.image_size) <= max(interface.image_size) <= 4096:
        problems.append(("interface.image_size", "a side is not between 1 and 4096 pixels", ""))
    if len(interface.mean) not in (1, 3) or len(interface.mean) != len(interface.std):
        message = f"{len(interface.mean)} means and {len(interface.std)} deviations"
        problems.append(("interface.mean", message, "give one of each a channel: 1 or 3"))
    if min(interface.std, default=1) <= 0:
        problems.append(("interface.std", "a deviation is not above 0", ""))
    return problems


def the_interface(interface: Input | None, ctx: Context) -> Interface:
    """The interface that `interface_problems` approved of."""
    data: Dataset | None = ctx.input("data")
    if interface is not None:
        return interface.interface()
    if data is None:
        raise StageError("nothing says what the network takes and gives", "connect 'data'")
    return data.interface


def save_checked(
    ctx: Context, module: nn.Module, architecture: Architecture, interface: Interface
) -> None:
    """Write the output ``model``.

    Raises:
        StageError: see `check_network`.
    """
    from edgepipe_stages._torch_model import save_model

    check_network(module, interface)
    description = {"interface": interface.as_json(), "architecture": architecture.model_dump()}
    save_model(ctx.output("model"), module, description)
    TorchModel.check(ctx.output("model"))


def check_network(module: nn.Module, interface: Interface) -> None:
    """That a network gives one row of scores for each image; it is in evaluation mode then.

    Raises:
        StageError: it does not run, or gives something else.
    """
    import torch

    module.eval()
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            raise StageError(
                f"the network's '{name}' is {str(parameter.dtype).removeprefix('torch.')}, but"
                " images come as float32",
                "make it with .float(); precision is changed further on, by quantize and convert",
            )
    try:
        scores = _run(module, torch.zeros(interface.shape))
    except Exception as error:
        raise StageError(
            f"the network does not run on an image of {interface.shape[1:]}: {error}",
            "channels × height × width must be what it was made for",
        ) from error
    if scores != (1, len(interface.classes)):
        raise StageError(
            f"the network gives {scores} for one image, not (1, {len(interface.classes)})",
            "it has to give one score a class, and nothing else",
        )
    hint = "keep the first dimension, which counts images: x.flatten(1), not x.reshape(1, -1)"
    try:
        scores = _run(module, torch.zeros(2, *interface.shape[1:]))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise StageError(
            f"the network runs on one image, but not on two at once: {reason}", hint
        ) from error
    if scores != (2, len(interface.classes)):
        raise StageError(
            f"the network gives {scores} for two images, not (2, {len(interface.classes)})", hint
        )


def _run(module: nn.Module, images: Tensor) -> tuple[int, ...] | str:
    """The shape of what a network gives; its type where it is no tensor."""
    import torch

    with torch.no_grad():
        scores = module(images)
    return tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
