"""Multiply-accumulates of ONNX operators that ran, by the shapes that they ran with.

They count as `edgepipe_stages._macs` counts those of the torch network. Operators:
https://onnx.ai/onnx/operators and ONNX Runtime's ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edgepipe_stages._graph import Shape
from edgepipe_stages._graph.einsum import einsum_macs


@dataclass(frozen=True)
class Executed:
    """One run of one operator."""

    domain: str
    """Empty for ONNX's own."""
    type: str
    name: str
    attributes: Mapping[str, Any] | None
    """None for an operator that the runtime put there in place of another."""
    inputs: tuple[Shape | None, ...]
    """As the operator takes them; None for one that is not given or is no tensor."""
    outputs: tuple[Shape | None, ...]

    def __str__(self) -> str:
        return f"{self.domain}{'.' * bool(self.domain)}{self.type} '{self.name}'"

    def input(self, place: int) -> Shape:
        """A shape that must be there; raises `_UnknownError` if not."""
        found = self.inputs[place] if place < len(self.inputs) else None
        if found is None:
            raise _UnknownError
        return found

    @property
    def output(self) -> Shape:
        """The first one's shape."""
        if not self.outputs or self.outputs[0] is None:
            raise _UnknownError
        return self.outputs[0]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value; raises `_UnknownError` if attributes are not known."""
        if self.attributes is None:
            raise _UnknownError
        return self.attributes.get(name, default)


def count(executed: Iterable[Executed]) -> tuple[int, tuple[str, ...]]:
    """Multiply-accumulates of all these, and the operators for which nobody knows."""
    total = 0
    unknown: dict[str, None] = {}
    for op in executed:
        try:
            total += _macs(op)
        except _UnknownError:
            unknown[str(op)] = None
    return total, tuple(unknown)


class _UnknownError(Exception):
    """How much work an operator is cannot be told."""


def _macs(op: Executed) -> int:
    if op.domain in ("", "ai.onnx") and op.type not in _OPAQUE:
        rule = _STANDARD.get(op.type)
        return rule(op) if rule else 0
    if op.domain == "ai.onnx.ml" and op.type not in _OPAQUE:
        return 0
    if op.domain == "com.microsoft":
        rule = _CONTRIBUTED.get(op.type)
        if rule:
            return rule(op)
        if op.type in _CONTRIBUTED_WITHOUT:
            return 0
    raise _UnknownError


_Rule = Callable[[Executed], int]


def _convolution(weight: int) -> _Rule:
    """Its weight is outputs × inputs a group × kernel."""
    return lambda op: prod(op.output) * prod(op.input(weight)[1:])


def _transposed(op: Executed) -> int:
    return prod(op.input(0)) * prod(op.input(1)[1:])


def _matrices(op: Executed) -> int:
    return prod(op.output) * op.input(0)[-1]


def _fused_matrices(op: Executed) -> int:
    if op.attribute("transBatchA", 0):
        raise _UnknownError
    return prod(op.output) * op.input(0)[-2 if op.attribute("transA", 0) else -1]


def _gemm(op: Executed) -> int:
    rows = op.output[0]
    # Whichever of its axes it is that is summed over.
    return prod(op.input(0)) // rows * prod(op.output) if rows else 0


def _recurrent(op: Executed) -> int:
    """For each step and image of a batch, the weights of its input and those of its state."""
    return prod(op.input(0)[:2]) * (prod(op.input(1)) + prod(op.input(2)))


def _affine_grid(op: Executed) -> int:
    return prod(op.output) * op.input(0)[-1]


def _einsum(op: Executed) -> int:
    shapes = [op.input(i) for i in range(len(op.inputs))]
    return einsum_macs(op.attribute("equation").decode(), shapes)


def _attention(op: Executed) -> int:
    """Queries times keys, and weights times values; all heads side by side or one after another."""
    steps = op.input(1)[-2]
    if len(op.inputs) > 4 and op.inputs[4] is not None:
        steps += op.input(4)[-2]
    return (prod(op.input(0)) + prod(op.output)) * steps


def _multi_head(op: Executed) -> int:
    query = op.input(0)
    if any(shape is not None for shape in op.inputs[6:8]):
        raise _UnknownError
    if len(query) == 5:
        # Queries, keys and values in one: batch × steps × heads × 3 × size.
        return (prod(query) // 3 + prod(op.output)) * query[1]
    key = op.input(1)
    return (prod(query) + prod(op.output)) * key[-4 if len(key) == 5 else -2]


def _projected_attention(past: int) -> _Rule:
    """Attention with the products that make queries, keys and values: weight is inputs × all."""

    def rule(op: Executed) -> int:
        if len(op.inputs) > past and op.inputs[past] is not None:
            raise _UnknownError
        rows, values, together = op.input(0)[:-1], op.output[-1], op.input(1)[-1]
        queries = prod(rows) * (together - values) // 2
        return prod(rows) * prod(op.input(1)) + (queries + prod(op.output)) * rows[-1]

    return rule


_STANDARD: dict[str, _Rule] = {
    "AffineGrid": _affine_grid,
    "Attention": _attention,
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": _transposed,
    "DeformConv": _convolution(1),
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matrices,
    "MatMulInteger": _matrices,
    "QLinearConv": _convolution(3),
    "QLinearMatMul": _matrices,
    "RNN": _recurrent,
}

_CONTRIBUTED: dict[str, _Rule] = {
    "Attention": _projected_attention(4),
    "ConvTransposeWithDynamicPads": _transposed,
    "DynamicQuantizeLSTM": _recurrent,
    "DynamicQuantizeMatMul": _matrices,
    "FusedConv": _convolution(1),
    "FusedGemm": _gemm,
    "FusedMatMul": _fused_matrices,
    "FusedMatMulActivation": _fused_matrices,
    "GemmFastGelu": _matrices,
    "MatMulBnb4": _matrices,
    "MatMulFpQ4": _matrices,
    "MatMulInteger16": _matrices,
    "MatMulIntegerToFloat": _matrices,
    "MatMulNBits": _matrices,
    "MultiHeadAttention": _multi_head,
    "NhwcConv": _convolution(1),
    "NhwcFusedConv": _convolution(1),
    "QAttention": _projected_attention(8),
    "QGemm": _gemm,
    "QLinearConv": _convolution(3),
    "TransposeMatMul": _fused_matrices,
}

_CONTRIBUTED_WITHOUT = frozenset(
    """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu CropAndResize DequantizeLinear
    EmbedLayerNormalization ExpandDims FastGelu GatedAdd GatherBlockQuantized GatherND Gelu
    GridSample GroupNorm Irfft IsAllFinite MaxpoolWithMask MulInteger MurmurHash3 NhwcMaxPool Pad
    QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool
    QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere
    QuantizeLinear QuickGelu Range ReduceSumInteger Rfft RotaryEmbedding ScaledSiLU SkipGroupNorm
    SkipLayerNormalization SkipSimplifiedLayerNormalization Tokenizer Trilu UnfoldTensor Unique
    """.split()  # noqa: SIM905
)
"""ONNX Runtime's own operators that multiply no matrices; of all others nothing is known."""

_OPAQUE = frozenset(
    """
    CausalConvWithState LinearAttention LinearClassifier LinearRegressor SVMClassifier SVMRegressor
    """.split()  # noqa: SIM905
)
"""Operators of ONNX that multiply matrices in ways that are not counted."""
