"""PyTorch, eager, in the layout that is fastest on a processor: channels last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgepipe_stages._artifacts import Interface, TorchModel
from edgepipe_stages._macs import work_of
from edgepipe_stages._runtime import Runtime, UserObject
from edgepipe_stages._torch_model import load_model
from edgepipe_stages._work import Work


class PyTorch(Runtime):
    """A TorchModel artifact."""

    def __init__(self, model: Path, threads: int, user_object: UserObject) -> None:
        torch.set_num_threads(threads)
        self.interface: Interface = TorchModel.interface(model)
        module = load_model(model, user_object)
        self.module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            result: NDArray[np.float32] = self.module(self._tensor(images)).float().numpy()
        return result

    def step(self, image: NDArray[np.float32]) -> Callable[[], object]:
        tensor = self._tensor(image)

        def run() -> object:
            with torch.inference_mode():
                return self.module(tensor)

        return run

    def work(self) -> Work:
        return work_of(self.module, self.interface)

    def _tensor(self, images: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
