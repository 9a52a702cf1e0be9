"""Makes torchvision importable beside a torch that it was not built for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

_kept: list[torch.library.Library] = []


def make_torchvision_importable() -> None:
    """Declare the operators without which ``import torchvision`` dies, if its own do not load.

    The registry's torchvision is built for CUDA: beside the CPU build of torch its compiled
    operators do not load, and it registers more about them all the same. Models and transforms
    need none of them. Call it before the first import of torchvision or timm.
    """
    spec = find_spec("torchvision")
    if _kept or spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(  # type: ignore[no-untyped-call]
            str(Path(spec.origin).with_name("_C.so"))
        )
    except OSError:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(  # type: ignore[no-untyped-call]
                f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        _kept.append(library)
