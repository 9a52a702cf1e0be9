"""TensorFlow Lite's interpreter, from the package ai-edge-litert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgepipe.stage import StageError
from edgepipe_stages._graph import Graph, Shape
from edgepipe_stages._runtime import Inspectable, UserObject
from edgepipe_stages._work import Work


class LiteRT(Inspectable):
    """A TFLite file with one input and one output; integers in and out are scaled here."""

    def __init__(self, model: Path, threads: int, user_object: UserObject) -> None:
        self.path = model / "model.tflite"
        self.threads = threads
        self.interpreter = self._open()
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = []
        for image in images:
            self.step(image[None])()
            rows.append(real(self.interpreter.get_tensor(self.output["index"]), self.output))
        return np.concatenate(rows)

    def step(self, image: NDArray[np.float32]) -> Callable[[], object]:
        interpreter, index, output = self.interpreter, self.input["index"], self.output["index"]
        value = stored(image, self.input)

        def run() -> object:
            interpreter.set_tensor(index, value)
            interpreter.invoke()
            return interpreter.get_tensor(output)

        return run

    def graph(self) -> Graph:
        from edgepipe_stages._graph.tflite_file import File

        return File(self.path).read()

    def work(self) -> Work:
        from edgepipe_stages._graph.tflite_file import File
        from edgepipe_stages._graph.tflite_work import work

        file = File(self.path)
        return work(file, self._shapes() if file.is_open else {})

    def _shapes(self) -> dict[int, Shape]:
        """The shapes of the main subgraph's tensors once an image has gone through."""
        interpreter = self._open_to_look()
        interpreter.set_tensor(
            self.input["index"], np.zeros(self.input["shape"], self.input["dtype"])
        )
        interpreter.invoke()
        details = interpreter.get_tensor_details()
        return {d["index"]: tuple(int(n) for n in d["shape"]) for d in details}

    def tensors(self, names: Sequence[str], images: NDArray[np.float32]) -> dict[str, Any]:
        interpreter = self._open_to_look()
        details = {str(d["index"]): d for d in interpreter.get_tensor_details()}
        rows: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        for image in images:
            interpreter.set_tensor(self.input["index"], stored(image[None], self.input))
            interpreter.invoke()
            for name, values in rows.items():
                value = interpreter.get_tensor(details[name]["index"])
                values.append(real(value, details[name]))
        return {name: np.concatenate(values) for name, values in rows.items()}

    def _open_to_look(self) -> Any:
        # Delegates keep their tensors to themselves; the kernels built in can keep all.
        return self._open(
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )

    def _open(self, **options: Any) -> Any:
        try:
            interpreter = Interpreter(str(self.path), num_threads=self.threads, **options)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise StageError(f"LiteRT does not take {self.path.name}: {error}") from error
        return interpreter


def stored(values: NDArray[np.float32], details: dict[str, Any]) -> NDArray[Any]:
    """Real numbers as a tensor's integers: ``round(value / scale) + zero_point``, clipped."""
    dtype = details["dtype"]
    if not np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    whole = np.round(values / np.float32(scale)) + zero_point
    result: NDArray[Any] = np.clip(whole, limits.min, limits.max).astype(dtype)
    return result


def real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    """A tensor's integers as real numbers: ``(value - zero_point) * scale``."""
    scale, zero_point = details["quantization"]
    numbers: NDArray[np.float32] = values.astype(np.float32)
    if np.issubdtype(values.dtype, np.integer) and scale:
        numbers = (numbers - np.float32(zero_point)) * np.float32(scale)
    return numbers
