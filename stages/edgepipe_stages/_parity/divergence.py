"""Finds the first layer at which a converted or quantized model leaves its PyTorch original.

Convolutions and matrix products are what both graphs surely share: converters fold, fuse and
rename all else. They are paired by their weights. What enters each of them must be the same
in both graphs, so the first input whose error jumps has the fault just before it: in the
product that feeds it, if that one's own output is off, or in what lies between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepipe_stages._graph import Graph, Op, Product
from edgepipe_stages._parity.distance import sqnr
from edgepipe_stages._parity.trace import Made, TorchProduct, Trace
from edgepipe_stages._runtime import Inspectable

ENOUGH_DB = {"float32": 100.0, "float16": 60.0, "dynamic": 35.0, "int8": 30.0}
"""Above this a tensor counts as right: what is lost above it is the precision's own rounding."""

JUMP_DB = 6.0
"""Losing less than this, a factor of two, is the gradual growth of rounding errors."""

_LAYOUT = {"reshape", "flatten", "transpose", "squeeze", "unsqueeze", "expand_dims"}
"""Operators, in any runtime's spelling, that only move data: what enters one is as good."""

ALIKE = 0.5
"""Above what two unrelated kernels of three by three pixels come to."""

SAME_WEIGHTS = 0.95
"""Weights less similar than this are other weights; int8 rounding keeps them above 0.99."""


@dataclass(frozen=True)
class Layer:
    """A product in both graphs."""

    path: str
    """The torch module."""
    operator: Op
    weights: float
    """Cosine similarity of both weights, each output channel scaled to length 1."""
    input_db: float | None
    """SQNR of what enters; None where the graphs cannot be compared."""
    output_db: float | None
    """SQNR of what it gives, against the torch tensor after it that is nearest."""

    def as_json(self) -> dict[str, Any]:
        """A row for a report."""
        rounded = {
            name: value if value is None else round(value, 1)
            for name, value in (("input_db", self.input_db), ("output_db", self.output_db))
        }
        return {
            "layer": self.path,
            "operator": str(self.operator),
            "weight_similarity": round(self.weights, 4),
            **rounded,
        }


@dataclass(frozen=True)
class Divergence:
    """Where a model first leaves the original."""

    path: str
    """The torch module."""
    operator: str
    """The runtime's operator."""
    before_db: float
    after_db: float
    cause: str

    def __str__(self) -> str:
        place = f"'{self.path}'" if self.path else "the network's own forward()"
        return (
            f"the first layer that diverges is {place}, operator {self.operator}:"
            f" SQNR falls from {self.before_db:.0f} to {self.after_db:.0f} dB; {self.cause}"
        )


@dataclass(frozen=True)
class Comparison:
    """All layers in the order of execution, and the first that diverges, if one stands out."""

    layers: list[Layer]
    first: Divergence | None


def compare(
    original: Trace,
    runtime: Inspectable,
    images: NDArray[np.float32],
    precision: str,
) -> Comparison:
    """Compare every layer.

    Args:
        original: what the PyTorch model computed for the images.
        runtime: the other model, open.
        images: the same images, normalized, in the other model's layout.
        precision: a key of `ENOUGH_DB`.
    """
    graph = runtime.graph()
    pairs = pair_products(original.products, graph)
    points = [(_product(op).data, product.data) for op, product, _ in pairs]
    points.append((graph.output, original.output))
    wanted = dict.fromkeys(name for tensor, _ in points for name in graph.back(tensor))
    entering = runtime.tensors(list(wanted), images)
    leaving = runtime.tensors([op.outputs[0] for op, _, _ in pairs], images)
    levels = [_entering(graph, tensor, entering, made) for tensor, made in points]
    layers = [
        Layer(
            product.path,
            op,
            weights,
            level,
            _nearest(leaving[op.outputs[0]], [made.values for made in product.made]),
        )
        for (op, product, weights), level in zip(pairs, levels[:-1], strict=True)
    ]
    enough = ENOUGH_DB[precision]
    known = {layer.operator.outputs[0]: layer.input_db for layer in layers}
    events = []
    for (tensor, made), level in zip(points, levels, strict=True):
        if level is not None:
            before = [known.get(op.outputs[0]) for op in graph.feeding(tensor)]
            worst = min([enough, *(value for value in before if value is not None)])
            events.append(_Event(tensor, made, worst, min(level, enough)))
    return Comparison(layers, _first(graph, layers, events))


def _product(op: Op) -> Product:
    assert op.product
    return op.product


Pair = tuple[Op, TorchProduct, float]


def pair_products(products: Sequence[TorchProduct], graph: Graph) -> list[Pair]:
    """Pair products whose weights have one shape, the most similar first, then by order.

    Returns:
        (operator, torch product, similarity of weights), in the graph's order of execution.
    """
    ops = [op for op in graph.products if _product(op).weight is not None]
    candidates = []
    for i, op in enumerate(ops):
        weight = _product(op).weight
        assert weight is not None
        for j, product in enumerate(products):
            if weight.shape == product.weight.shape:
                similar = max(similarity(weight, own) for own in _orders(product))
                # Weights that are not alike at all say nothing: then the order decides.
                grade = round(similar, 2) if similar > ALIKE else 0.0
                candidates.append((-grade, i, j, similar))
    candidates.sort()
    taken: dict[int, tuple[int, float]] = {}
    used: set[int] = set()
    for _, i, j, similar in candidates:
        if i not in taken and j not in used:
            taken[i] = (j, similar)
            used.add(j)
    return [(ops[i], products[j], similar) for i, (j, similar) in sorted(taken.items())]


def _orders(product: TorchProduct) -> list[NDArray[Any]]:
    """A weight as it is; where it meets flattened images, also for channels that come last."""
    weight, channels = product.weight, product.data.flattened
    if channels < 2:
        return [weight]
    return [weight, weight.reshape(len(weight), channels, -1).swapaxes(1, 2).reshape(weight.shape)]


def similarity(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean cosine of output channels, signs and scales aside: folded normalization changes both."""
    x = a.reshape(len(a), -1).astype(np.float64)
    y = b.reshape(len(b), -1).astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosines = np.abs((x * y).sum(axis=1)) / np.where(lengths == 0, 1, lengths)
    alive = lengths > 0
    return float(cosines[alive].mean()) if alive.any() else 1.0


@dataclass(frozen=True)
class _Event:
    """A tensor that is in both graphs, and how right it is."""

    tensor: str
    made: Made
    before_db: float
    """The worst that enters the products that feed it."""
    after_db: float

    @property
    def drop(self) -> float:
        return self.before_db - self.after_db


def _first(graph: Graph, layers: Sequence[Layer], events: Sequence[_Event]) -> Divergence | None:
    """The first event that loses about as much as the worst does, and who is to blame."""
    largest = max((event.drop for event in events), default=0.0)
    others = [layer for layer in layers if layer.weights < SAME_WEIGHTS]
    for event in events:
        if event.drop >= max(JUMP_DB, largest / 2):
            return _blame(graph, layers, event)
        # Other weights and a wrong product are proof enough, however little of it is left
        # where a skip connection has been added.
        culprit = _culprit(graph, others, event, JUMP_DB)
        if event.drop > 0 and culprit:
            return _divergence(culprit, event)
    # A skip connection dilutes the fault of one branch: there the product itself must jump.
    # Elsewhere a product that jumps alone was fused with what follows: torch has no such tensor.
    for event in events:
        culprit = _culprit(graph, layers, event, JUMP_DB)
        if event.drop >= JUMP_DB / 2 and culprit and graph.adds_branches(event.tensor):
            return _divergence(culprit, event)
    return None


def _blame(graph: Graph, layers: Sequence[Layer], event: _Event) -> Divergence:
    """Name one of the products that feed a tensor, or else what lies between."""
    culprit = _culprit(graph, layers, event, event.drop / 2)
    if culprit:
        return _divergence(culprit, event)
    op = graph.producer(event.tensor)
    cause = "the products before it are right: look at what lies between them and it"
    return Divergence(
        event.made.path, str(op) if op else "the input", event.before_db, event.after_db, cause
    )


def _culprit(graph: Graph, layers: Sequence[Layer], event: _Event, least: float) -> Layer | None:
    """The worst of the products that feed a tensor and lose at least so much themselves."""
    feeding = {op.outputs[0] for op in graph.feeding(event.tensor)}
    losses = [
        (np.inf if layer.output_db is None else event.before_db - layer.output_db, layer)
        for layer in layers
        if layer.operator.outputs[0] in feeding
    ]
    loss, worst = max(losses, key=lambda found: found[0], default=(-np.inf, None))
    return worst if loss >= least else None


def _divergence(layer: Layer, event: _Event) -> Divergence:
    after = event.after_db if layer.output_db is None else min(event.after_db, layer.output_db)
    if layer.weights < SAME_WEIGHTS:
        cause = "its weights are not the original's"
    else:
        cause = "its weights are the original's: look at its bias, its attributes and its ranges"
    return Divergence(layer.path, str(layer.operator), event.before_db, after, cause)


def _entering(
    graph: Graph, tensor: str, values: Mapping[str, NDArray[Any]], made: Made
) -> float | None:
    """SQNR of a tensor; of what it was made from, where layout or padding was changed between."""
    levels = []
    for name in graph.back(tensor):
        found = _nearest(values[name], [made.values])
        if found is not None:
            levels.append(found)
        op = graph.producer(name)
        if levels and (op is None or op.type.lower() not in _LAYOUT):
            break
    return max(levels, default=None)


def _nearest(values: NDArray[Any], originals: Sequence[NDArray[Any]]) -> float | None:
    """The best SQNR against any of the originals of as many elements, in either layout."""
    if np.issubdtype(values.dtype, np.integer):
        return None
    found = [
        sqnr(original, view.reshape(original.shape))
        for original in originals
        if original.size == values.size
        for view in _layouts(values)
    ]
    return max(found, default=None)


def _layouts(values: NDArray[Any]) -> list[NDArray[Any]]:
    return [values, values.transpose(0, 3, 1, 2)] if values.ndim == 4 else [values]
