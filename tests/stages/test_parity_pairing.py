"""Which operator of a converted model a layer became: told by its weights."""

from __future__ import annotations

import numpy as np
import pytest
from damaged_models import shuffled

from edgepipe_stages._graph import Graph, Op, Product
from edgepipe_stages._parity.divergence import pair_products, similarity
from edgepipe_stages._parity.trace import Made, TorchProduct


def test_products_are_paired_by_weights_then_by_what_is_left_then_by_order() -> None:
    random = np.random.default_rng(0)
    a, b, c, d = random.normal(size=(4, 4, 2, 3, 3)).astype(np.float32)
    image = Made("", "image", np.zeros((1, 2, 5, 5), np.float32))
    originals = [
        TorchProduct(name, weight, image)
        for name, weight in (("a", a), ("b", b), ("c", c), ("twice", d), ("again", d))
    ]
    damaged = shuffled(b)
    ops = tuple(
        Op(name, "Conv", ("x",), (name,), Product("x", weight))
        for name, weight in (("1", c), ("2", -2 * a), ("3", damaged), ("4", d), ("5", d))
    )
    ops += (Op("6", "Conv", ("x",), ("6",), Product("x", a[:2])),)
    found = pair_products(originals, Graph(ops, "5"))
    assert [(op.name, product.path) for op, product, _ in found] == [
        ("1", "c"),
        ("2", "a"),
        ("3", "b"),
        ("4", "twice"),
        ("5", "again"),
    ]
    assert [similar > 0.99 for *_, similar in found] == [True, True, False, True, True]


def test_similarity_leaves_signs_and_scales_aside() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    scales = np.array([1, -2, 0.1, 5]).reshape(4, 1, 1, 1)
    assert similarity(weight, weight * scales) == pytest.approx(1)
    assert similarity(weight, shuffled(weight)) < 0.6
    assert similarity(weight * 0, weight) == 1.0
