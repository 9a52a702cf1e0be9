"""ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgepipe.stage import StageError
from edgepipe_stages._graph import Graph
from edgepipe_stages._runtime import Inspectable, UserObject, in_batches


class OnnxRuntime(Inspectable):
    """An ONNX file with one input and one output."""

    def __init__(self, model: Path, threads: int, user_object: UserObject) -> None:
        self.path = model / "model.onnx"
        self.threads = threads
        self.session = self._open(str(self.path))
        self.input = self.session.get_inputs()[0]
        size = self.input.shape[0]
        self.batch = size if isinstance(size, int) else None

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        [result] = in_batches(
            lambda part: self.session.run(None, {self.input.name: part}), images, self.batch
        )
        return result.astype(np.float32, copy=False)

    def step(self, image: NDArray[np.float32]) -> Callable[[], object]:
        feed = {self.input.name: image}
        return lambda: self.session.run(None, feed)

    def graph(self) -> Graph:
        from edgepipe_stages._graph import onnx_file

        return onnx_file.read(onnx_file.load(self.path))

    def macs_and_parameters(self) -> tuple[int, int]:
        graph = self.graph()
        names = [name for name in graph.measured_tensors() if name != self.input.name]
        image = np.zeros([n if isinstance(n, int) else 1 for n in self.input.shape], np.float32)
        found = zip(names, self._run(names, image), strict=True)
        shapes = {self.input.name: image.shape} | {name: value.shape for name, value in found}
        return graph.macs(shapes) // len(image), graph.parameters

    def tensors(self, names: Sequence[str], images: NDArray[np.float32]) -> dict[str, Any]:
        inner = [name for name in names if name != self.input.name]
        values = in_batches(lambda part: self._run(inner, part), images, self.batch)
        found = dict(zip(inner, values, strict=True))
        return {name: found.get(name, images) for name in names}

    def _run(self, names: Sequence[str], images: NDArray[np.float32]) -> Sequence[Any]:
        """Run a copy of the model that also gives these tensors."""
        if not names:
            return []
        import onnx

        model = onnx.load(self.path)
        own = {output.name for output in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in names if name not in own
        )
        session = self._open(model.SerializeToString())
        result: Sequence[Any] = session.run(list(names), {self.input.name: images})
        return result

    def _open(self, model: str | bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # A spinning thread that waits for a core that others use triples the median.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise StageError(f"ONNX Runtime does not take {self.path.name}: {error}") from error
