"""What ONNX Runtime executes for an input: every operator, those in branches and loops too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from edgepipe_stages._graph import Shape, onnx_file
from edgepipe_stages._graph.onnx_work import Executed

_MOST_EVENTS = 1_000_000
"""ONNX Runtime's profiler notes no more."""


def executed(
    model: onnx.ModelProto,
    open_: Callable[[bytes, onnxruntime.SessionOptions], Any],
    feed: dict[str, NDArray[Any]],
) -> tuple[list[Executed], bool]:
    """Run a model as it is written, without fusions, and list what ran.

    Args:
        model: as `onnx_file.load` gives it; its nodes lose their names.
        open_: makes a session of a file's content.
        feed: the inputs.

    Returns:
        the operators in order, one that runs twice twice, and whether these are all.
    """
    nodes = [node for graph in onnx_file.graphs(model) for node in graph.node]
    names = [node.name or next(filter(None, node.output), "") for node in nodes]
    for number, node in enumerate(nodes):
        node.name = f"{number}"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # A weight that was packed is no tensor of a shape any more.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_profiling = True
    with TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_(model.SerializeToString(), options)
        session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found = []
    for event in events:
        name, is_kernel, _ = event["name"].partition("_kernel_time")
        if event["cat"] != "Node" or not is_kernel:
            continue
        inputs, outputs = (
            _shapes(event["args"], f"{side}_type_shape") for side in ("input", "output")
        )
        if name.isdecimal():
            node = nodes[int(name)]
            found.append(
                Executed(
                    node.domain,
                    node.op_type,
                    names[int(name)],
                    onnx_file.attributes(node),
                    _placed(node.input, inputs),
                    _placed(node.output, outputs),
                )
            )
        else:
            found.append(Executed("", event["args"]["op_name"], name, None, inputs, outputs))
    return found, len(events) < _MOST_EVENTS


def _shapes(arguments: dict[str, Any], side: str) -> tuple[Shape, ...]:
    return tuple(tuple(shape) for entry in arguments[side] for shape in entry.values())


def _placed(names: Any, shapes: tuple[Shape, ...]) -> tuple[Shape | None, ...]:
    """The profiler leaves out what is not given; and what is no tensor, and then nothing is sure."""
    given = [i for i, name in enumerate(names) if name]
    if len(given) != len(shapes):
        return (None,) * len(names)
    placed = dict(zip(given, shapes, strict=True))
    return tuple(placed.get(i) for i in range(len(names)))
