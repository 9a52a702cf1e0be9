"""Runs a model artifact in its runtime: one small file a runtime, one way to ask it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepipe.stage import StageError
from edgepipe_stages._artifacts import Model
from edgepipe_stages._work import Work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgepipe_stages._graph import Graph

UserObject = Callable[[str], Any]


class Runtime(ABC):
    """A model, ready to run.

    Images are float32, N × C × H × W or N × H × W × C as the model's `Interface` says, already
    normalized. Scores are float32, N × classes.
    """

    @abstractmethod
    def __init__(self, model: Path, threads: int, user_object: UserObject) -> None:
        """Open a model.

        Args:
            model: the folder of its artifact.
            threads: how many the runtime may use.
            user_object: gives the user's class that a torch model names; see
                `Context.user_object`.

        Raises:
            StageError: the runtime refuses the model.
        """

    @abstractmethod
    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the model gives for each image."""

    @abstractmethod
    def step(self, image: NDArray[np.float32]) -> Callable[[], object]:
        """A call that runs the model on one image, in the number format that the model takes."""

    @abstractmethod
    def work(self) -> Work:
        """What one image costs, as the model's own operators say.

        Raises:
            StageError: nothing tells that.
        """


class Inspectable(Runtime):
    """A runtime that shows what is inside its model."""

    @abstractmethod
    def graph(self) -> Graph:
        """The model's operators."""

    @abstractmethod
    def tensors(self, names: Sequence[str], images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Tensors of the graph by name, for all images.

        Integers that stand for real numbers by a scale come as these; others as they are.
        """


def runtime_of(model: Path) -> type[Runtime]:
    """The runtime for what an artifact's folder holds; imports it.

    Raises:
        StageError: the folder holds no model.
    """
    if (model / "model.onnx").is_file():
        from edgepipe_stages._runtime.onnx_runtime import OnnxRuntime

        return OnnxRuntime
    if (model / "model.tflite").is_file():
        from edgepipe_stages._runtime.litert import LiteRT

        return LiteRT
    if (model / "saved_model").is_dir():
        from edgepipe_stages._runtime.tensorflow_runtime import TensorFlow

        return TensorFlow
    if (model / "weights.safetensors").is_file():
        from edgepipe_stages._runtime.pytorch import PyTorch

        return PyTorch
    raise StageError(
        "the folder holds no model that can be run",
        "expected: model.onnx, model.tflite, saved_model or weights.safetensors",
    )


def scores(runtime: Runtime, model: Path, images: NDArray[np.uint8], batch: int = 64) -> Any:
    """A model's scores for uint8 images (N × H × W × C), normalized as its interface says.

    Args:
        runtime: the open model.
        model: its artifact's folder.
        images: of the size that it takes.
        batch: how many are normalized and handed over at once.
    """
    import numpy as np

    interface = Model.interface(model)
    parts = [
        runtime.scores(interface.normalize(images[start : start + batch]))
        for start in range(0, len(images), batch)
    ]
    return np.concatenate(parts)


def in_batches(
    run: Callable[[Any], Sequence[Any]], images: NDArray[np.float32], size: int | None
) -> list[NDArray[Any]]:
    """Run a model of a fixed batch size (None: any) over images; each output for all of them.

    The last batch is filled up with its last image, and what that gives is left out.
    """
    import numpy as np

    if size is None:
        return [np.asarray(output) for output in run(images)]
    columns: list[list[NDArray[Any]]] = []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        columns.append([np.asarray(output)[: len(part)] for output in run(filled)])
    return [np.concatenate(column) for column in zip(*columns, strict=True)]
