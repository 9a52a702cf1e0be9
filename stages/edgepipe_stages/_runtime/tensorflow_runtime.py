"""TensorFlow, for a SavedModel with one input and one output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepipe.stage import StageError
from edgepipe_stages._runtime import Runtime, UserObject, in_batches
from edgepipe_stages._tensorflow import import_tensorflow
from edgepipe_stages._work import Work


class TensorFlow(Runtime):
    """A SavedModel's signature ``serving_default``."""

    def __init__(self, model: Path, threads: int, user_object: UserObject) -> None:
        tf = import_tensorflow()
        self._tensor = tf.constant
        try:
            self._loaded = tf.saved_model.load(str(model / "saved_model"))
            self._call = self._loaded.signatures["serving_default"]
        except (OSError, KeyError, ValueError) as error:
            raise StageError(f"TensorFlow does not take the SavedModel: {error}") from error
        [(self._input, spec)] = self._call.structured_input_signature[1].items()
        self._batch = spec.shape[0]

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        [result] = in_batches(self._run, images, self._batch)
        return result.astype(np.float32, copy=False)

    def step(self, image: NDArray[np.float32]) -> Callable[[], object]:
        return lambda: self._run(image)

    def work(self) -> Work:
        raise StageError("a SavedModel's operators are not counted", "convert it to TFLite first")

    def _run(self, images: NDArray[np.float32]) -> list[Any]:
        return [v.numpy() for v in self._call(**{self._input: self._tensor(images)}).values()]
