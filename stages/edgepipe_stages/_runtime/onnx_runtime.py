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
from edgepipe_stages._work import Work


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

    def work(self) -> Work:
        from edgepipe_stages._graph import onnx_file, onnx_parameters, onnx_work
        from edgepipe_stages._runtime import onnx_profile

        model = onnx_file.load(self.path)
        image = np.zeros([n if isinstance(n, int) else 1 for n in self.input.shape], np.float32)
        feed = {self.input.name: image}
        executed, complete = onnx_profile.executed(model, self._open, feed)
        macs, uncounted = onnx_work.count(executed)
        if not complete:
            uncounted += (f"all after the first {len(executed)}",)
        return Work(macs // len(image), onnx_parameters.parameters(model), uncounted)

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

        from edgepipe_stages._graph import onnx_file

        model = onnx_file.load(self.path)
        own = {output.name for output in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in names if name not in own
        )
        session = self._open(model.SerializeToString())
        result: Sequence[Any] = session.run(list(names), {self.input.name: images})
        return result

    def _open(self, model: str | bytes, options: onnxruntime.SessionOptions | None = None) -> Any:
        options = options or onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # A spinning thread that waits for a core that others use triples the median.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions share no base
            raise StageError(f"ONNX Runtime does not take {self.path.name}: {error}") from error
