"""Multiply-accumulates and parameters of a TFLite file, by the shapes that it states.

They count as `edgepipe_stages._macs` counts those of a torch network. Where operators keep their
weights: tensorflow/lite/kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod

from ai_edge_litert import schema_py_generated as schema

from edgepipe_stages._graph import Shape
from edgepipe_stages._graph.tflite_file import File, Operator
from edgepipe_stages._work import Work


def work(file: File, shapes: Mapping[int, Shape]) -> Work:
    """What one run of a file's main subgraph costs, with the subgraphs that its operators call.

    Args:
        file: the main subgraph.
        shapes: by tensor of the main subgraph, where they are not those that the file states.
    """
    counter = _Counter(file)
    macs, uncounted = counter.subgraph(file, shapes)
    parameters = file.parameters + sum(file.subgraph(n).parameters for n in counter.called)
    return Work(macs, parameters, tuple(uncounted))


class _Counter:
    def __init__(self, file: File) -> None:
        self._file = file
        self.called: set[int] = set()
        """Subgraphs other than the main one."""

    def subgraph(self, file: File, shapes: Mapping[int, Shape]) -> tuple[int, list[str]]:
        """Multiply-accumulates of one run, and the operators whose are not known."""
        total, uncounted = 0, []
        for op in file.operators():
            if op.type in _CALLS and not op.is_custom:
                macs, unknown = self._call(op)
            elif op.is_custom or op.type in _OPAQUE:
                macs, unknown = 0, [str(op)]
            else:
                macs, unknown = _macs(op, lambda i: shapes.get(i) or file.shape(i)), []
            total += macs
            uncounted += unknown
        return total, uncounted

    def _call(self, op: Operator) -> tuple[int, list[str]]:
        called = _CALLS[op.type](op)
        self.called.update(called)
        found = [self.subgraph(self._file.subgraph(number), {}) for number in called]
        unknown = [name for _, names in found for name in names]
        counts = [macs for macs, _ in found]
        if op.type == "WHILE":
            # Nothing in the file says how often it turns.
            return 0, [str(op)] if any(counts) else unknown
        if op.type == "IF" and len(set(counts)) > 1:
            return 0, [str(op)]
        return counts[0] if op.type != "CALL_ONCE" else 0, unknown


def _while(op: Operator) -> list[int]:
    options = op.options(schema.WhileOptions)
    return [options.CondSubgraphIndex(), options.BodySubgraphIndex()]


def _if(op: Operator) -> list[int]:
    options = op.options(schema.IfOptions)
    return [options.ThenSubgraphIndex(), options.ElseSubgraphIndex()]


_CALLS: dict[str, Callable[[Operator], list[int]]] = {
    "CALL": lambda op: [op.options(schema.CallOptions).Subgraph()],
    "CALL_ONCE": lambda op: [op.options(schema.CallOnceOptions).InitSubgraphIndex()],
    "IF": _if,
    "STABLEHLO_COMPOSITE": lambda op: [
        op.options(schema.StableHLOCompositeOptions).DecompositionSubgraphIndex()
    ],
    "WHILE": _while,
}
"""Which subgraphs an operator runs."""


def _macs(op: Operator, shape: Callable[[int], Shape]) -> int:
    rule = _RULES.get(op.type)
    inputs = [shape(i) if i >= 0 else () for i in op.inputs]
    return rule(op, inputs, shape(op.outputs[0])) if rule else 0


_Rule = Callable[[Operator, list[Shape], Shape], int]


def _matrices(op: Operator, inputs: list[Shape], output: Shape) -> int:
    is_turned = op.options(schema.BatchMatMulOptions).AdjX()
    return prod(output) * inputs[0][-2 if is_turned else -1]


def _each_step(*weights: Iterable[int]) -> _Rule:
    """Every vector of the input meets each of these weights once."""
    places = [place for some in weights for place in some]

    def rule(op: Operator, inputs: list[Shape], output: Shape) -> int:
        given = [inputs[i] for i in places if i < len(inputs) and inputs[i]]
        return prod(inputs[0][:-1]) * sum(map(prod, given))

    return rule


def _lstm(op: Operator, inputs: list[Shape], output: Shape) -> int:
    # The old kernel of five inputs has all weights in one.
    weights = [range(2, 3)] if len(inputs) == 5 else [range(1, 9), [16]]
    return _each_step(*weights)(op, inputs, output)


_RULES: dict[str, _Rule] = {
    "BATCH_MATMUL": _matrices,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _each_step(
        range(1, 9), [16], range(18, 26), [33], range(40, 48)
    ),
    "BIDIRECTIONAL_SEQUENCE_RNN": _each_step([1, 2, 5, 6, 10, 11]),
    "CONV_2D": lambda op, inputs, output: prod(output) * prod(inputs[1][1:]),
    "CONV_3D": lambda op, inputs, output: prod(output) * prod(inputs[1][:-1]),
    "CONV_3D_TRANSPOSE": lambda op, inputs, output: prod(inputs[2]) * prod(inputs[1][:-1]),
    "DEPTHWISE_CONV_2D": lambda op, inputs, output: prod(output) * prod(inputs[1][1:3]),
    "FULLY_CONNECTED": lambda op, inputs, output: prod(output) * inputs[1][-1],
    "LSTM": _lstm,
    "RNN": _each_step([1, 2]),
    "SVDF": _each_step([1, 2]),
    "TRANSPOSE_CONV": lambda op, inputs, output: prod(inputs[2]) * prod(inputs[1][:-1]),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _each_step(range(1, 9), [16]),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _each_step([1, 2]),
}

_OPAQUE = frozenset(
    """
    DELEGATE PLACEHOLDER_FOR_GREATER_OP_CODES STABLEHLO_CASE STABLEHLO_CONVOLUTION
    STABLEHLO_CUSTOM_CALL STABLEHLO_DOT_GENERAL STABLEHLO_WHILE
    """.split()  # noqa: SIM905
)
"""Operators that multiply matrices, or call subgraphs that may, in ways that are not counted."""
