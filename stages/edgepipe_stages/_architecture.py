"""The parameters that name a network, and what can be said about them before torch is imported."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Literal

from edgepipe.errors import did_you_mean
from edgepipe.stage import Field, Params, SourceCode
from edgepipe_stages import _zoo

SMALL_SIDE = 48
"""Up to this side, in pixels, ``stem: auto`` leaves two strides out; up to twice it, one."""

LIBRARIES = ("timm", "torchvision")


class Architecture(Params):
    """A network: one of our own, of timm or torchvision, or the user's."""

    arch: Annotated[str, SourceCode("python:")] = Field(
        min_length=1,
        description="a name (mobilenet_v2, resnet18), timm:NAME, torchvision:NAME,"
        " python:FILE.py:NAME or python:MODULE:NAME",
    )
    width: float = Field(
        1.0, ge=0.05, le=4, description="multiplies the channels of every layer; our own only"
    )
    stem: Literal["auto", "imagenet", "reduced", "small"] = Field(
        "auto",
        description="imagenet: the published strides; reduced: without the first; small: without"
        " the first two, for images of about 32 pixels; auto: by the image's size. Our own only",
    )
    activation: Literal["default", "relu", "relu6", "hardswish"] = Field(
        "default", description="replaces all activations but gates; our own only"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="before the classifier; default: as published. Our own only"
    )
    kwargs: dict[str, bool | int | float | str | None] = Field(
        {}, description="keyword arguments for timm, torchvision or the user's class"
    )

    @property
    def library(self) -> str:
        """Where the network comes from: ``zoo``, ``timm``, ``torchvision`` or ``python``."""
        prefix, colon, _ = self.arch.partition(":")
        return prefix if colon else "zoo"

    @property
    def distributions(self) -> tuple[str, ...]:
        """The distributions that define it, whose versions enter the key."""
        return _needed(self.library) if self.library in LIBRARIES else ()

    def unstrided(self, height: int, width: int) -> int:
        """How many of the first strides are left out for images of this size, in pixels."""
        if self.stem != "auto":
            return {"imagenet": 0, "reduced": 1, "small": 2}[self.stem]
        side = min(height, width)
        return 2 if side <= SMALL_SIDE else 1 if side <= 2 * SMALL_SIDE else 0


def architecture_problems(
    architecture: Architecture, prefix: str = "model"
) -> list[tuple[str, str, str]]:
    """What is wrong with an architecture, for `Stage.preflight`. Imports no framework.

    Args:
        architecture: what the pipeline says.
        prefix: the parameter that holds it; empty if the stage is one itself.

    Returns:
        (parameter, message, hint) for each problem.
    """
    dot = f"{prefix}." if prefix else ""
    return [(dot + name, message, hint) for name, message, hint in _problems(architecture)]


def _problems(architecture: Architecture) -> Iterator[tuple[str, str, str]]:
    library, name = architecture.library, architecture.arch.partition(":")[2]
    if library == "zoo":
        if architecture.arch not in _zoo.NAMES:
            yield (
                "arch",
                f"there is no architecture '{architecture.arch}'",
                did_you_mean(architecture.arch, _zoo.NAMES, "architectures")
                + "\nor timm:NAME, torchvision:NAME, python:FILE.py:NAME",
            )
        if architecture.kwargs:
            yield (
                "kwargs",
                f"'{architecture.arch}' takes no keyword arguments",
                "use width, stem, activation and dropout",
            )
        return
    if library not in (*LIBRARIES, "python"):
        yield (
            "arch",
            f"'{library}:' is not where an architecture can come from",
            did_you_mean(library, (*LIBRARIES, "python"), "prefixes"),
        )
        return
    if not name or (library == "python" and not all(name.rpartition(":"))):
        example = "python:FILE.py:NAME" if library == "python" else f"{library}:NAME"
        yield "arch", f"'{architecture.arch}' names no architecture", f"write {example}"
    if library in LIBRARIES:
        missing = [package for package in _needed(library) if find_spec(package) is None]
        if missing:
            yield (
                "arch",
                f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed,"
                f" which '{architecture.arch}' needs",
                "pip install 'edgepipe[zoo]'",
            )
    for field in ("width", "stem", "activation", "dropout"):
        if getattr(architecture, field) != Architecture.model_fields[field].default:
            yield (
                field,
                f"'{field}' is for our own architectures, not for '{architecture.arch}'",
                "give its own arguments as kwargs",
            )


def _needed(library: str) -> tuple[str, ...]:
    return ("timm", "torchvision") if library == "timm" else ("torchvision",)
